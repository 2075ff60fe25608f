"""What the vectors do not say about the native part: handles, errors, threads, versions."""

import gc
import json
import pickle
import threading
from typing import Any

import pytest

import tidegate
from tidegate import BugError, ConfigError, MalformedError, RejectedError, _core, _version

SCHEMA = json.loads(_core.schema())


def tag(machine: str, name: str) -> int:
    """Find the tag of an input."""
    inputs: list[dict[str, Any]] = next(m for m in SCHEMA["machines"] if m["name"] == machine)["inputs"][
        "variants"
    ]
    return [variant["name"] for variant in inputs].index(name)


def test_a_config_that_cannot_work_raises_every_fault_with_names_as_python_writes_them() -> None:
    with pytest.raises(ConfigError) as raised:
        _core.create("drain", '{"grace": 0, "kill_budget": 5}', 1, 0)
    assert raised.value.code == "bad-config"
    fields = [fault.field for fault in raised.value.faults]
    assert "kill_budget" in fields
    assert all(field in str(raised.value) for field in fields)


def test_a_name_in_camel_case_is_no_name_here() -> None:
    with pytest.raises(MalformedError, match="killBudget"):
        _core.create("drain", '{"killBudget": 5}', 1, 0)


def test_malformed_calls_say_what_is_wrong() -> None:
    with pytest.raises(MalformedError, match="there is no machine `nothing`"):
        _core.create("nothing", "{}", 1, 0)
    with pytest.raises(MalformedError, match="no seed"):
        _core.create("drain", "{}", 2**53, 0)
    drain = _core.create("drain", "{}", 1, 0)
    with pytest.raises(MalformedError, match="there is no input `sleep`"):
        _core.handle(drain, 0, '{"type": "sleep"}')
    with pytest.raises(MalformedError, match="no time"):
        _core.tick(drain, -5)
    with pytest.raises(MalformedError):
        _core.restore("drain", b"damaged", 0, 0)
    assert _core.input(drain, 0, 9999) == 0
    assert _core.input(drain, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8) == 0
    _core.free(drain)


def test_a_rejection_is_a_value_on_both_paths_and_changes_nothing() -> None:
    drain = _core.create("drain", "{}", 1, 0)
    before = _core.snapshot(drain, 0)
    answer = json.loads(_core.handle(drain, 2**53, '{"type": "started"}'))
    assert answer["rejection"]["code"] == "time-out-of-range"
    assert _core.input(drain, 2**53, tag("drain", "started")) == -1
    assert _core.snapshot(drain, 0) == before
    _core.free(drain)


def test_a_freed_handle_is_refused_and_taken_again() -> None:
    held = _core.held()
    drain = _core.create("drain", "{}", 1, 0)
    assert _core.held() == held + 1
    _core.free(drain)
    _core.free(drain)
    assert _core.held() == held
    with pytest.raises(MalformedError, match="no machine with this handle"):
        _core.state(drain)
    assert _core.create("drain", "{}", 1, 0) == drain
    _core.free(drain)


def test_a_snapshot_restores_a_machine_that_goes_on_alike() -> None:
    drain = _core.create("drain", "{}", 1, 0)
    _core.handle(drain, 10, '{"type": "started"}')
    again = _core.restore("drain", _core.snapshot(drain, 20), 20, 0)
    assert _core.state(again) == _core.state(drain)
    assert _core.deadline(again) == _core.deadline(drain)
    explanation = json.loads(_core.explain(again))
    assert explanation.keys() == {"state", "because", "waits_for", "next"}
    _core.free(drain)
    _core.free(again)


def test_threads_share_the_machines_of_a_process() -> None:
    """Each thread makes, drives and frees machines; one that belongs to none of them is driven by all."""
    held = _core.held()
    shared = _core.create("backoff", "{}", 1, 0)
    failed = tag("backoff", "failed")
    fields = next(m for m in SCHEMA["machines"] if m["name"] == "backoff")["inputs"]["variants"][failed][
        "fields"
    ]
    numbers = [-1 if "optional" in field["kind"] else 0 for field in fields]
    problems: list[BaseException] = []

    def drive() -> None:
        try:
            for now in range(2000):
                own = _core.create("backoff", "{}", now, 0)
                for handle in (own, shared):
                    assert _core.input(handle, now, failed, *numbers) != 0
                _core.free(own)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=drive) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    _core.free(shared)
    assert _core.held() == held


class Owner:
    """What a host does: frees its machine when it is forgotten."""

    def __init__(self) -> None:
        self.handle = _core.create("backoff", "{}", 1, 0)
        self.cycle = self

    def __del__(self) -> None:
        _core.free(self.handle)


def test_garbage_collected_in_the_middle_of_a_step_may_free_machines() -> None:
    """Making the answer of a step may start a collection, whose finalizers call the native part again."""
    held = _core.held()
    drain_started = tag("drain", "started")
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            Owner()
            drain = _core.create("drain", "{}", 1, 0)
            assert isinstance(_core.input(drain, 0, drain_started), tuple)
            _core.free(drain)
    finally:
        gc.set_threshold(*threshold)
        gc.collect()
    assert _core.held() == held


def test_exceptions_survive_pickling() -> None:
    for error in (
        ConfigError("drain", [tidegate.Fault("out-of-range", "grace", "is 0")]),
        RejectedError("impossible-now", "drain", "started", "serving"),
        MalformedError("no"),
        BugError("a bug of tidegate"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_native_part_of_another_version_is_refused_with_both_versions_named() -> None:
    assert tidegate.__version__ == _core.version() == SCHEMA["version"]
    with pytest.raises(ImportError, match=r"tidegate is version 1\.2\.3.* is version 4\.5\.6"):
        _version.check("1.2.3", "4.5.6")
