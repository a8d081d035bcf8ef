"""The engine: one step per key at a time, no lost wake, every error worded, a sentence told once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from pvc_core.errors import Conflict, Permanent, Refused, Retry, StoreUnavailable
from pvc_core.model.view import ClusterView
from pvc_core.reconcile.engine import EVERY, Engine
from pvc_core.reconcile.outcome import Outcome
from pvc_core.testing.clock import FakeClock


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str, **_: object) -> None:
        self.lines.append(text)

    error = exception = warning = info


class Scripted:
    kind = "thing"

    def __init__(self, step: Callable[[str], Outcome]) -> None:
        self._step = step
        self.notes: list[str] = []

    def keys(self, view: ClusterView) -> Iterable[str]:
        return ("a", "b")

    def concerned(self, store_key: str) -> str | None:
        return store_key.removeprefix("/x/") if store_key.startswith("/x/") else None

    def step(self, key: str) -> Outcome:
        return self._step(key)

    def note(self, key: str, outcome: Outcome) -> None:
        self.notes.append(f"{key}: {outcome.sentence}")


def rig(step: Callable[[str], Outcome]) -> tuple[Engine, FakeClock, Log, Scripted]:
    clock, log, scripted = FakeClock(), Log(), Scripted(step)
    return Engine((scripted,), clock, log), clock, log, scripted


def test_of_keys_that_are_due_the_lowest_rank_is_taken_first() -> None:
    clock = FakeClock()
    ranks = {"a": 0, "b": -5, "c": 3}
    engine = Engine((Scripted(lambda key: Outcome("")),), clock, Log(), rank=lambda kind, key: ranks[key])
    engine.wake("thing", "a", in_s=1.0)
    for key in "cb":
        engine.wake("thing", key, in_s=2.0)
    clock.move(1.5)
    assert engine.take() == ("thing", "a"), "the others are not due"
    engine.wake("thing", "c")
    clock.move(1.0)
    assert [engine.take(), engine.take(), engine.take()] == [("thing", "b"), ("thing", "c"), None]


def test_a_wake_is_one_step() -> None:
    engine, _, _, _ = rig(lambda key: Outcome(f"did {key}"))
    engine.wake("thing", "a")
    engine.wake("thing", "a")
    job = engine.take()
    assert job == ("thing", "a")
    assert engine.run(job).sentence == "did a"
    assert engine.take() is None


def test_a_key_is_never_in_two_hands_and_a_wake_meanwhile_is_kept() -> None:
    engine, _, _, _ = rig(lambda key: Outcome("ok"))
    engine.wake("thing", "a")
    job = engine.take()
    engine.wake("thing", "a")
    assert engine.take() is None
    assert job is not None
    engine.run(job)
    assert engine.take() == ("thing", "a")


def test_comes_back_when_it_said() -> None:
    engine, clock, _, _ = rig(lambda key: Outcome("waiting", again_in_s=5.0))
    engine.wake("thing", "a")
    engine.run(engine.take())  # type: ignore[arg-type]  # there is a job
    clock.move(4.9)
    assert engine.take() is None
    clock.move(0.2)
    assert engine.take() == ("thing", "a")


def test_a_wake_comes_before_a_later_appointment_and_does_not_cancel_it() -> None:
    engine, _, _, _ = rig(lambda key: Outcome("x", again_in_s=50.0))
    engine.wake("thing", "a", in_s=50.0)
    engine.wake("thing", "a")
    assert engine.take() == ("thing", "a")


@pytest.mark.parametrize(
    ("error", "sentence", "again_in_s"),
    [
        (Retry("the guest holds on", again_in_s=3.0), "the guest holds on", 3.0),
        (Conflict("x"), "someone wrote at the same moment; looking again", 0.02),
        (StoreUnavailable("no answer"), "waiting for the store: no answer", 1.0),
        (Refused("no room", help="make room"), "no room (make room)", 60.0),
        (Permanent("broken"), "broken", 60.0),
        (Permanent(""), "it failed (permanent) without a word of why", 60.0),
        (ValueError("bug"), "internal error: ValueError: bug", 10.0),
    ],
)
def test_every_error_becomes_a_sentence_and_a_time(error: Exception, sentence: str, again_in_s: float) -> None:
    def step(key: str) -> Outcome:
        raise error

    engine, clock, _, scripted = rig(step)
    engine.wake("thing", "a")
    outcome = engine.run(engine.take())  # type: ignore[arg-type]  # there is a job
    assert outcome == Outcome(sentence, again_in_s)
    assert scripted.notes == [f"a: {sentence}"]
    clock.move(again_in_s + 0.001)
    assert engine.take() == ("thing", "a")


def test_the_same_sentence_is_told_once() -> None:
    engine, _, log, _ = rig(lambda key: Outcome("running on hv1"))
    for _ in range(3):
        engine.wake("thing", "a")
        engine.run(engine.take())  # type: ignore[arg-type]  # there is a job
    assert log.lines == ["running on hv1"]


def test_a_changed_key_wakes_whom_it_concerns_and_none_wakes_all() -> None:
    engine, _, _, _ = rig(lambda key: Outcome(""))
    engine.changed(ClusterView(), frozenset({"/x/q", "/y/z"}))
    assert engine.take() == ("thing", "q")
    assert engine.take() is None
    engine.changed(ClusterView(), None)
    assert {engine.take(), engine.take()} == {("thing", "a"), ("thing", "b")}


def test_words_that_cannot_be_noted_cost_neither_the_key_nor_the_thread() -> None:
    engine, _, log, scripted = rig(lambda key: Outcome("ok", again_in_s=0.0))

    def broken(key: str, outcome: Outcome) -> None:
        raise ValueError("bug")

    scripted.note = broken  # type: ignore[method-assign]  # a bug in a reconciler
    engine.wake("thing", "a")
    engine.run(engine.take())  # type: ignore[arg-type]  # there is a job
    assert engine.take() == ("thing", "a")
    assert "the outcome could not be noted" in log.lines


def test_appointments_brought_forward_leave_nothing_behind() -> None:
    engine, clock, _, _ = rig(lambda key: Outcome("", again_in_s=3600.0))
    for _ in range(20_000):
        engine.wake("thing", "a")
        engine.run(engine.take())  # type: ignore[arg-type]  # there is a job
        clock.move(0.01)
    assert len(engine._heap) < 2000
    clock.move(3600.0)
    assert engine.take() == ("thing", "a")


def test_a_change_may_concern_every_key() -> None:
    engine, _, _, scripted = rig(lambda key: Outcome(""))
    scripted.concerned = lambda store_key: EVERY  # type: ignore[method-assign]  # as a new primary's
    engine.changed(ClusterView(), frozenset({"/leader"}))
    assert {engine.take(), engine.take()} == {("thing", "a"), ("thing", "b")}
