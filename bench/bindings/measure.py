"""What a call into the core costs from Python, beside `transitions`: JSON rows on standard output."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from transitions import Machine

from tidegate import _core

CROSSING = "an empty crossing"
QUIET = "an input without effects"
EFFECTS = "an input with its effects, as objects"

NOBODY = 4_000_000_000
"""No machine has it, so freeing it does nothing."""

SCHEMA = json.loads(_core.schema())


@dataclass
class Contender:
    """Something that is measured: `run` makes that many calls."""

    work: str
    name: str
    run: Callable[[int], None]
    samples: list[float] = field(default_factory=list)


def described(machine: str) -> Any:
    """Find the description of a machine."""
    return next(known for known in SCHEMA["machines"] if known["name"] == machine)


class Codec:
    """The flat form of a machine: what a host generates, here made from the schema."""

    def __init__(self, machine: str) -> None:
        schema = described(machine)
        self.tags = {variant["name"]: tag for tag, variant in enumerate(schema["inputs"]["variants"])}
        self.effects = [
            (variant["name"], [part["name"] for part in variant["fields"]])
            for variant in schema["effects"]["variants"]
        ]

    def decode(self, words: tuple[int, ...]) -> list[dict[str, Any]]:
        """Make objects of the effects of a step."""
        effects = []
        at = 2
        while at < len(words):
            name, fields = self.effects[words[at]]
            effect: dict[str, Any] = {"type": name}
            for part in fields:
                at += 1
                effect[part] = words[at]
            at += 1
            effects.append(effect)
        return effects


def tunnel() -> int:
    """Bring a tunnel up; what it hears then changes nothing."""
    made = _core.create("tunnel", "{}", 7, 0)
    for said in (
        {"type": "start"},
        {"type": "prepared", "operation": 1},
        {"type": "opened", "generation": 1},
        {"type": "accepted", "generation": 1},
    ):
        assert "rejection" not in json.loads(_core.handle(made, 0, json.dumps(said)))
    return made


def backoff() -> int:
    """Make a backoff that fails, waits and is woken in turns: each an effect and a deadline."""
    made = _core.create("backoff", "{}", 7, 0)
    _core.handle(made, 0, '{"type": "start"}')
    return made


def crossing(count: int) -> None:
    """Do nothing."""
    free = _core.free
    for _ in range(count):
        free(NOBODY)


def flat() -> list[Contender]:
    """Measure the flat path."""
    heard, quiet = Codec("tunnel").tags["inbound"], tunnel()
    codec, busy = Codec("backoff"), backoff()
    failed, wake = codec.tags["failed"], codec.tags["wake"]
    state = {"now": 0, "operation": 1}

    def run_quiet(count: int) -> None:
        send = _core.input
        for _ in range(count):
            if send(quiet, 1, heard, 1, 0) is not None:
                raise AssertionError

    def run_effects(count: int) -> None:
        send, decode = _core.input, codec.decode
        now, operation = state["now"], state["operation"]
        for _ in range(count // 2):
            step = send(busy, now, failed, operation, -1)
            assert isinstance(step, tuple)
            decode(step)
            now += 1
            step = send(busy, now, wake)
            assert isinstance(step, tuple)
            operation = decode(step)[0]["operation"]
        state["now"], state["operation"] = now, operation

    return [
        Contender(QUIET, "python flat", run_quiet),
        Contender(EFFECTS, "python flat", run_effects),
    ]


def objects() -> list[Contender]:
    """Measure the object path."""
    quiet, busy = tunnel(), backoff()
    state = {"now": 0, "operation": 1}

    def run_quiet(count: int) -> None:
        for _ in range(count):
            json.loads(_core.handle(quiet, 1, json.dumps({"type": "inbound", "generation": 1, "ago": 0})))

    def run_effects(count: int) -> None:
        for _ in range(count // 2):
            failed = {"type": "failed", "operation": state["operation"], "hint": None}
            json.loads(_core.handle(busy, state["now"], json.dumps(failed)))
            state["now"] += 1
            step = json.loads(_core.handle(busy, state["now"], json.dumps({"type": "wake"})))
            state["operation"] = step["effects"][0]["operation"]

    return [
        Contender(QUIET, "python object", run_quiet),
        Contender(EFFECTS, "python object", run_effects),
    ]


class Model:
    """What `transitions` drives: the same work, as small as it can be said there."""

    def __init__(self) -> None:
        self.operation = 1
        self.delay = 500
        self.kept: dict[str, Any] = {}
        self.heard = 0

    def hear(self, ago: int) -> None:
        """Keep the silence from running out, as in the tunnel."""
        self.heard = 1 - ago

    def waiting(self) -> None:
        """Make the effect of a failure."""
        self.delay = min(self.delay * 2, 30_000)
        self.kept = {"type": "waiting", "delay": self.delay}

    def attempt(self) -> None:
        """Make the effect of a wake."""
        self.operation += 1
        self.kept = {
            "type": "attempt",
            "operation": self.operation,
            "attempt": self.operation,
            "limit": 20_000,
        }


def peer() -> list[Contender]:
    """Measure `transitions`."""
    quiet, busy = Model(), Model()
    Machine(quiet, ["up"], initial="up", auto_transitions=False).add_transition(
        "inbound", "up", None, after="hear"
    )
    machine = Machine(busy, ["trying", "waiting"], initial="trying", auto_transitions=False)
    machine.add_transition("failed", "trying", "waiting", after="waiting")
    machine.add_transition("wake", "waiting", "trying", after="attempt")
    inbound: Callable[[int], bool] = vars(quiet)["inbound"]
    failed: Callable[[], bool] = vars(busy)["failed"]
    wake: Callable[[], bool] = vars(busy)["wake"]

    def run_quiet(count: int) -> None:
        for _ in range(count):
            inbound(0)

    def run_effects(count: int) -> None:
        for _ in range(count // 2):
            failed()
            wake()

    return [
        Contender(QUIET, "transitions trigger", run_quiet),
        Contender(EFFECTS, "transitions trigger", run_effects),
    ]


def timed(contender: Contender, count: int) -> int:
    """Time that many calls, in nanoseconds."""
    start = time.perf_counter_ns()
    contender.run(count)
    return time.perf_counter_ns() - start


def main() -> None:
    """Run every contender once a round, in an order that rotates."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=25)
    rounds: int = arguments.parse_args().rounds
    contenders = [Contender(CROSSING, "python", crossing), *flat(), *objects(), *peer()]
    counts = []
    for contender in contenders:
        count = 1000
        while (took := timed(contender, count)) < 20_000_000:
            count *= 2
        counts.append(max(2, count * 20_000_000 // took))
    for turn in range(rounds):
        for place in range(len(contenders)):
            at = (turn + place) % len(contenders)
            contenders[at].samples.append(timed(contenders[at], counts[at]) / counts[at])
    rows = [asdict(contender) for contender in contenders]
    json.dump([{key: row[key] for key in ("work", "name", "samples")} for row in rows], sys.stdout)


if __name__ == "__main__":
    main()
