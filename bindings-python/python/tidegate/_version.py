"""The version of the Python sources, compared at import with that of the native part."""

VERSION = "0.1.0"


def check(ours: str, theirs: str) -> None:
    """Refuse a native part of another version: its tables would not fit these sources."""
    if ours != theirs:
        raise ImportError(
            f"tidegate is version {ours}, but its native part tidegate._core is version {theirs}: "
            "install both in the same version (reinstall tidegate; in a clone, build it again)"
        )
