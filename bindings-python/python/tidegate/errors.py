"""Every exception of tidegate, with a code that does not change between releases."""

import json
from collections.abc import Sequence
from dataclasses import dataclass


class TidegateError(Exception):
    """What every exception of tidegate is."""

    code: str
    """Which error it is. Stable, for programs; the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Fault:
    """One fault of a config."""

    code: str
    """Its kind: `out-of-range`, `contradiction`, `over-budget` or `bad-name`."""
    field: str
    """Which field, as a path (`backoff.cap`)."""
    message: str
    """What is wrong with which value, and what to do about it."""


class ConfigError(TidegateError, ValueError):
    """The config cannot work. Code `bad-config`."""

    faults: tuple[Fault, ...]
    """Everything that is wrong with it."""

    def __init__(self, what: str, faults: Sequence[Fault]) -> None:
        lines = "".join(f"\n  {fault.field} {fault.message}" for fault in faults)
        super().__init__("bad-config", f"the config of {what} cannot work:{lines}")
        self.what = what
        self.faults = tuple(faults)

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[str, tuple[Fault, ...]]]:
        return ConfigError, (self.what, self.faults)


class RejectedError(TidegateError):
    """A machine refused an input: it is impossible, and nothing has changed.

    The code says why: `time-out-of-range`, `impossible-now`, `never-issued` or `value-out-of-range`.
    """

    machine: str
    """The machine."""
    input: str
    """The type of the input that was refused."""
    state: str
    """The state that the machine was (and still is) in."""

    def __init__(self, code: str, machine: str, input: str, state: str) -> None:  # noqa: A002
        super().__init__(code, f"{machine}: {_sentence(code, input, state)}")
        self.machine = machine
        self.input = input
        self.state = state

    def __reduce__(self) -> tuple[type["RejectedError"], tuple[str, str, str, str]]:
        return RejectedError, (self.code, self.machine, self.input, self.state)


def _sentence(code: str, name: str, state: str) -> str:
    if code == "time-out-of-range":
        return "the time is beyond 2^53 - 1 milliseconds"
    if code == "impossible-now":
        return f"input `{name}` is impossible in state `{state}`"
    if code == "never-issued":
        return f"input `{name}` names an operation or a connection that was never issued"
    return f"a number of input `{name}` is out of range"


class MalformedError(TidegateError, ValueError):
    """An input, a config or a snapshot is of the wrong shape, not just of a wrong value. Code `malformed`."""

    def __init__(self, message: str) -> None:
        super().__init__("malformed", message)

    def __reduce__(self) -> tuple[type["MalformedError"], tuple[str]]:
        return MalformedError, (str(self),)


class BugError(TidegateError):
    """A bug of tidegate. The machine that met it refuses further use. Code `bug`."""

    def __init__(self, message: str) -> None:
        super().__init__("bug", message)

    def __reduce__(self) -> tuple[type["BugError"], tuple[str]]:
        return BugError, (str(self),)


def _config_error(machine: str, faults: str) -> ConfigError:
    """Make the exception out of what the native part answers."""
    return ConfigError(machine, [Fault(**fault) for fault in json.loads(faults)])
