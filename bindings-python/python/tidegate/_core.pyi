"""The machines of the core, by handle. Private to the package; see src/lib.rs."""

from typing import TypeAlias

__all__ = [
    "create",
    "create_scripted",
    "restore",
    "free",
    "held",
    "handle",
    "tick",
    "input",
    "tick_flat",
    "deadline",
    "state",
    "explain",
    "snapshot",
    "schema",
    "version",
]

_Flat: TypeAlias = int | tuple[int, ...] | None

def create(machine: str, config: str, seed: int, now: int, /) -> int: ...
def create_scripted(machine: str, config: str, draws: str, now: int, /) -> int: ...
def restore(machine: str, snapshot: bytes, now: int, elapsed: int, /) -> int: ...
def free(handle: int, /) -> None: ...
def held() -> int: ...
def handle(handle: int, now: int, input: str, /) -> str: ...
def tick(handle: int, now: int, /) -> str: ...
def input(
    handle: int,
    now: int,
    tag: int,
    a: int = ...,
    b: int = ...,
    c: int = ...,
    d: int = ...,
    e: int = ...,
    f: int = ...,
    g: int = ...,
    h: int = ...,
    /,
) -> _Flat: ...
def tick_flat(handle: int, now: int, /) -> _Flat: ...
def deadline(handle: int, /) -> str: ...
def state(handle: int, /) -> str: ...
def explain(handle: int, /) -> str: ...
def snapshot(handle: int, now: int, /) -> bytes: ...
def schema() -> str: ...
def version() -> str: ...
