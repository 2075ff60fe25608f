"""Lifecycle for gateways: drain, reconnect, hand over and roll back without losing a request."""

from tidegate import _core, _version
from tidegate.errors import BugError, ConfigError, Fault, MalformedError, RejectedError, TidegateError

__version__ = _version.VERSION

_version.check(__version__, _core.version())

__all__ = [
    "BugError",
    "ConfigError",
    "Fault",
    "MalformedError",
    "RejectedError",
    "TidegateError",
    "__version__",
]
