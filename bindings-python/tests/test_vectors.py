"""Replays every conformance vector, and the long pseudo-random scripts, through the native part."""

import json
import re
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tidegate import ConfigError, _core

Json: TypeAlias = Any

FOLDER = Path(__file__).parents[2] / "vectors"


def read(name: str) -> Json:
    """Read a file of `vectors/`, its field names as Python writes them."""
    return snake((FOLDER / name).read_text(encoding="utf-8"))


def snake(text: str) -> Json:
    """Read JSON with `camelCase` names as `snake_case`. Tags and codes are values and stay."""

    def rename(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        return {
            re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name): value for name, value in pairs
        }

    return json.loads(text, object_pairs_hook=rename)


SCHEMA = json.loads(_core.schema())
INDEX: dict[str, int] = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))["files"]
DIGESTS = read("digests.json")
REPLAYED = {"object": 0, "flat": 0, "digests": 0}


class Codec:
    """The flat form of a machine's messages, by the schema."""

    def __init__(self, machine: str) -> None:
        described = next(known for known in SCHEMA["machines"] if known["name"] == machine)
        self.inputs: list[Json] = described["inputs"]["variants"]
        self.effects: list[Json] = described["effects"]["variants"]
        self.why: list[str] = [why["name"] for why in described["why"]]

    def encode(self, message: Json) -> tuple[int, list[int]]:
        """Turn an input into its tag and fields."""
        tag = next(tag for tag, variant in enumerate(self.inputs) if variant["name"] == message["type"])
        fields = self.inputs[tag]["fields"]
        return tag, [self._word(field["kind"], message.get(field["name"])) for field in fields]

    def decode(self, words: tuple[int, ...]) -> Json:
        """Turn a step into its object form."""
        deadline = None if words[0] < 0 else {"at": words[0], "why": self.why[words[1]]}
        effects = []
        at = 2
        while at < len(words):
            variant = self.effects[words[at]]
            effect = {"type": variant["name"]}
            for place, field in enumerate(variant["fields"], start=at + 1):
                effect[field["name"]] = self._value(field["kind"], words[place])
            effects.append(effect)
            at += 1 + len(variant["fields"])
        return {"effects": effects, "deadline": deadline}

    def _word(self, kind: Json, value: Json) -> int:
        if value is None:
            return -1
        if "name" in kind:
            return [known["name"] for known in names(kind)].index(value)
        if "optional" in kind:
            return self._word(kind["optional"], value)
        return int(value)

    def _value(self, kind: Json, word: int) -> Json:
        if "name" in kind:
            return names(kind)[word]["name"]
        if "optional" in kind:
            return None if word < 0 else self._value(kind["optional"], word)
        return word != 0 if kind == "bool" else word


def names(kind: Json) -> list[Json]:
    """List the values of a kind that is a name."""
    values: list[Json] = SCHEMA["names"][kind["name"]]["values"]
    return values


def create(machine: str, script: Json) -> int:
    """Make the machine of a script."""
    config, start = json.dumps(script.get("config", {})), script.get("start", 0)
    if "draws" in script:
        return _core.create_scripted(machine, config, ",".join(script["draws"]), start)
    return _core.create(machine, config, script.get("seed", 1), start)


def object_step(handle: int, step: Json) -> Json:
    """Take a step on the object path, in the shape in which it stands in a vector."""
    if "input" in step:
        answer = json.loads(_core.handle(handle, step["at"], json.dumps(step["input"])))
    else:
        answer = json.loads(_core.tick(handle, step["at"]))
    return {"rejection": {"code": answer["rejection"]["code"]}} if "rejection" in answer else answer


def flat_step(codec: Codec, handle: int, step: Json, last: Json) -> Json:
    """Take the same step on the flat path. `last` is the deadline of the step before."""
    if "input" in step:
        tag, fields = codec.encode(step["input"])
        answer = _core.input(handle, step["at"], tag, *fields)
    else:
        answer = _core.tick_flat(handle, step["at"])
    if answer is None:
        return {"effects": [], "deadline": last}
    if isinstance(answer, int):
        assert answer < 0, f"malformed on the flat path: {step}"
        return {"rejection": {"code": SCHEMA["rejections"][-1 - answer]["name"]}}
    return codec.decode(answer)


def test_every_file_of_vectors_is_in_the_index() -> None:
    files = {path.name for path in FOLDER.glob("*.json")} - {"index.json", "digests.json"}
    assert files == INDEX.keys()


@pytest.mark.parametrize("file", INDEX)
def test_scripts_give_the_same_steps_on_the_object_path_and_on_the_flat_path(file: str) -> None:
    vectors = read(file)
    machine, scripts = vectors["machine"], vectors["scripts"]
    assert len(scripts) == INDEX[file], f"{file} has another number of scripts than the index says"
    codec = Codec(machine)
    for script in scripts:
        if "faults" in script:
            for _ in REPLAYED:
                with pytest.raises(ConfigError) as raised:
                    create(machine, script)
                faults = [{"code": fault.code, "field": fault.field} for fault in raised.value.faults]
                expected = [
                    {
                        "code": fault["code"],
                        "field": re.sub(r"[A-Z]", lambda c: f"_{c[0].lower()}", fault["field"]),
                    }
                    for fault in script["faults"]
                ]
                assert faults == expected, script["name"]
        else:
            objects, flats = create(machine, script), create(machine, script)
            last = None
            for place, step in enumerate(script["steps"]):
                where = f"{machine}: {script['name']}, step {place}: {step.get('input', 'tick')}"
                wanted = {key: step[key] for key in ("effects", "deadline", "rejection") if key in step}
                assert object_step(objects, step) == wanted, f"{where} on the object path"
                flat = flat_step(codec, flats, step, last)
                assert flat == wanted, f"{where} on the flat path"
                last = flat.get("deadline", last)
            _core.free(objects)
            _core.free(flats)
        REPLAYED["object"] += 1
        REPLAYED["flat"] += 1


def test_as_many_scripts_were_replayed_as_the_index_says(capsys: pytest.CaptureFixture[str]) -> None:
    total = sum(INDEX.values())
    assert (REPLAYED["object"], REPLAYED["flat"]) == (total, total)
    with capsys.disabled():
        print(
            f"\nvectors (python): {REPLAYED['object']} scripts on the object path, "
            f"{REPLAYED['flat']} on the flat path"
        )


MASK = 2**64 - 1


class Source:
    """The pinned stream of the core, SplitMix64, taken modulo."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def draw(self, n: int) -> int:
        """Draw a number below `n`."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return (z ^ (z >> 31)) % n

    def field(self, name: str, kind: Json, known: int) -> int:
        """Draw a field of an input, as its word."""
        if kind == "bool":
            return self.draw(2)
        if "name" in kind:
            return self.draw(len(names(kind)))
        if "optional" in kind:
            return -1 if self.draw(2) == 0 else self.field(name, kind["optional"], known)
        if name in ("operation", "generation"):
            return max(0, known + 1 - self.draw(3))
        most: int = kind["integer"]
        how = self.draw(3)
        if how == 0:
            return self.draw(min(most, 7) + 1)
        if how == 1:
            return self.draw(min(most, 5000) + 1)
        return min(most, 1000 + self.draw(4000))


def digest(machine: str, config: Json, seed: int, steps: int) -> str:
    """Run the script that boundary/src/script.rs describes; written anew, so that both must agree."""
    codec = Codec(machine)
    handle = _core.create(machine, json.dumps(config), seed, 0)
    source = Source(seed)
    now, known, folded = 0, 0, 0xCBF29CE484222325
    deadline, why = -1, 0
    for _ in range(steps):
        if source.draw(4) == 0 and deadline >= 0:
            now = deadline
            answer = _core.tick_flat(handle, now)
        else:
            gap = (0, 1, 10, 1000, 20_000)[source.draw(5)]
            now += source.draw(gap + 1)
            tag = source.draw(len(codec.inputs))
            fields = codec.inputs[tag]["fields"]
            answer = _core.input(
                handle, now, tag, *[source.field(field["name"], field["kind"], known) for field in fields]
            )
        if isinstance(answer, int):
            assert answer < 0, "the script drew a malformed input"
            words = [1, -1 - answer]
        else:
            effects: list[int] = []
            count = 0
            if answer is not None:
                deadline, why = answer[0], answer[1]
                at = 2
                while at < len(answer):
                    of_effect = codec.effects[answer[at]]["fields"]
                    effects += answer[at : at + 1 + len(of_effect)]
                    for place, field in enumerate(of_effect, start=at + 1):
                        if field["name"] in ("operation", "generation"):
                            known = max(known, answer[place])
                    at += 1 + len(of_effect)
                    count += 1
            words = [0, count, *effects, deadline + 1, why]
        for word in words:
            folded = ((folded ^ (word & MASK)) * 0x100000001B3) & MASK
    _core.free(handle)
    return f"{folded:016x}"


@pytest.mark.parametrize("entry", DIGESTS, ids=lambda entry: entry["machine"])
def test_the_digest_of_the_pseudo_random_steps_is_the_published_one(entry: Json) -> None:
    assert digest(entry["machine"], entry["config"], entry["seed"], entry["steps"]) == entry["digest"]
    REPLAYED["digests"] += 1


def test_every_digest_was_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert REPLAYED["digests"] == len(DIGESTS)
    with capsys.disabled():
        print(f"\ndigests (python): {len(DIGESTS)}")


def test_every_machine_has_vectors_and_a_digest() -> None:
    machines = {machine["name"] for machine in SCHEMA["machines"]}
    assert {entry["machine"] for entry in DIGESTS} == machines
    files = {file.removesuffix(".json") for file in INDEX}
    generated = {file for file in files if file.startswith("generated-")}
    assert files - generated == machines, "hand-written ones of every machine"
    assert {file.removeprefix("generated-") for file in generated} <= machines
