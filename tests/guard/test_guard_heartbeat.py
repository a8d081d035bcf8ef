"""Heartbeats against the store that loses answers: what is ours is recognised, what is not is not taken for ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pvc_core.clock import SystemClock
from pvc_core.cluster.layout import HEARTBEATS, VERDICTS
from pvc_core.errors import Conflict, Refused, StoreUnavailable
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.facts import Facts, read_facts
from pvc_core.guard.heartbeat import Condemned, Heart
from pvc_core.guard.nics import COUNTERS, Nics
from pvc_core.guard.report import Report, read_report, write_report
from pvc_core.model.node import Heartbeat
from pvc_core.model.verdict import Verdict
from pvc_core.schema.records import decode, encode
from pvc_core.store.base import Create, Entry, Put
from pvc_core.testing.store import FakeStore, FakeStoreServer

from .conftest import HandClock

KEY = HEARTBEATS.key("hv1")


class Rig:
    """One guard's heart on a fake store; more hearts for other lives and other machines."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.server = FakeStoreServer(auto=True, advance=clock.advance)
        self.store = self.server.client("guard")
        self.deadline = Deadline(8.0)
        self.heart = self.new_heart("life-1", self.deadline)

    def new_heart(
        self, incarnation: str, deadline: Deadline, facts: Callable[[], Facts] = lambda: Facts(100, 50, 0.5)
    ) -> Heart:
        return Heart("hv1", incarnation, limit_s=8.0, clock=self.clock, deadline=deadline, facts=facts)

    def beat(self, heart: Heart | None = None, *, armed: bool = True, store: FakeStore | None = None) -> None:
        self.clock.advance(1.0)
        (heart or self.heart).beat(store or self.store, armed=armed, deadline_s=0.8)

    def condemn(self, seen: Heartbeat | None = None, version: int | None = None) -> None:
        """As the judge does it, by what it saw last."""
        if seen is None or version is None:
            seen, version = self.found()
        verdict = Verdict(
            node="hv1", incarnation=seen.incarnation, by="hv2", term=3, why="silent for 5 s", coordinators=("hv2",)
        )
        marked = Put(KEY, encode(replace(seen, condemned=True)), version)
        self.server.client("judge").commit([marked, Create(VERDICTS.key(f"hv1@{seen.incarnation}"), encode(verdict))])

    def found(self) -> tuple[Heartbeat, int]:
        entry = self.server.client("reader").get(KEY)
        return decode(entry.value, Heartbeat), entry.version


@pytest.fixture
def rig(clock: HandClock) -> Rig:
    return Rig(clock)


def test_the_first_creates_the_record_and_the_next_ones_put_it(rig: Rig) -> None:
    for _ in range(3):
        rig.beat()
    found, version = rig.found()
    assert (found.node, found.incarnation, found.beat, version) == ("hv1", "life-1", 3, 2)
    assert (found.memory_total_bytes, found.memory_free_bytes, found.load) == (100, 50, 0.5)
    assert rig.deadline.last_sent_s == rig.clock.now_s


@pytest.mark.parametrize("armed", [True, False])
def test_a_heartbeat_says_what_is_waited_for(rig: Rig, armed: bool) -> None:
    rig.beat(armed=armed)
    assert rig.found()[0].armed is rig.deadline.armed is armed


def test_b5_a_verdict_and_the_next_heartbeat_exclude_each_other(rig: Rig) -> None:
    """The judge marks the last heartbeat it saw: the node's next finds it, and there is no other ever after."""
    rig.beat()
    rig.condemn()
    for _ in range(3):
        with pytest.raises(Condemned, match="silent for 5 s"):
            rig.beat()
    found, version = rig.found()
    assert (found.condemned, found.beat, version) == (True, 1, 1)
    assert rig.deadline.has_passed(0.0)


def test_b5_a_heartbeat_in_between_voids_the_verdict(rig: Rig) -> None:
    rig.beat()
    seen = rig.found()
    rig.beat()
    with pytest.raises(Conflict):
        rig.condemn(*seen)
    rig.beat()
    assert not rig.deadline.condemned


def test_a_verdict_is_met_by_a_guard_that_began_anew(rig: Rig) -> None:
    rig.beat()
    rig.condemn()
    with pytest.raises(Condemned):
        rig.beat(rig.new_heart("life-1", Deadline(8.0)))


def test_a_verdict_is_met_though_its_heartbeat_was_removed(rig: Rig) -> None:
    rig.beat()
    rig.condemn()
    rig.server.client("hand").delete(KEY, if_version=None)
    with pytest.raises(Condemned):
        rig.beat()


def test_a_verdict_is_met_though_its_record_cannot_be_read(rig: Rig) -> None:
    rig.beat()
    rig.condemn()
    rig.server.client("hand").put(VERDICTS.key("hv1@life-1"), b"?", if_version=None)
    with pytest.raises(Condemned, match="no reason is on record"):
        rig.beat()


def test_a18_a_verdict_on_an_earlier_life_is_nothing_to_the_next(rig: Rig) -> None:
    rig.beat()
    rig.condemn()
    deadline = Deadline(8.0)
    rig.beat(rig.new_heart("life-2", deadline))
    assert not deadline.condemned
    assert rig.found()[0].incarnation == "life-2"


@pytest.mark.parametrize("before", [0, 1, 5])
def test_a_lost_answer_is_recognised(rig: Rig, before: int) -> None:
    for _ in range(before):
        rig.beat()
    rig.store.lose_next_answer()
    with pytest.raises(StoreUnavailable):
        rig.beat()
    lost_s = rig.clock.now_s
    rig.beat()
    found, version = rig.found()
    assert (found.beat, version) == (before + 3, before + 1), "the lost one, the attempt that met it, this one"
    assert rig.deadline.last_sent_s == rig.clock.now_s > lost_s


def test_a_lost_answer_counts_from_its_own_sending(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt learns that it had arrived, and then fails itself: what counts is the earlier one."""
    rig.beat()
    heard_s = rig.clock.now_s
    rig.store.lose_next_answer()
    with pytest.raises(StoreUnavailable):
        rig.beat()
    lost_s = rig.clock.now_s
    assert rig.deadline.last_sent_s == heard_s, "not before it is known to be there"
    look = rig.store.get

    def look_and_cut(key: str, *, deadline_s: float | None = None) -> Entry:
        entry = look(key, deadline_s=deadline_s)
        rig.store.refuse_next_write()
        return entry

    monkeypatch.setattr(rig.store, "get", look_and_cut)
    with pytest.raises(StoreUnavailable):
        rig.beat()
    assert rig.deadline.last_sent_s == lost_s


def test_what_never_arrived_does_not_count(rig: Rig) -> None:
    rig.beat()
    heard_s = rig.clock.now_s
    for _ in range(3):
        rig.store.refuse_next_write()
        with pytest.raises(StoreUnavailable):
            rig.beat()
    rig.store.cut()
    with pytest.raises(StoreUnavailable):
        rig.beat()
    assert rig.deadline.last_sent_s == heard_s


def test_the_next_life_takes_over_the_record(rig: Rig) -> None:
    rig.beat()
    next_life = rig.new_heart("life-2", Deadline(8.0))
    rig.beat(next_life)
    found, version = rig.found()
    assert (found.incarnation, version) == ("life-2", 1)


def test_a_guard_restarted_in_the_same_life_goes_on_counting(rig: Rig) -> None:
    for _ in range(5):
        rig.beat()
    rig.beat(rig.new_heart("life-1", rig.deadline))
    assert rig.found()[0].beat == 6


def test_a_second_machine_of_the_same_name_is_noticed_by_the_first(rig: Rig) -> None:
    rig.beat()
    other, store = rig.new_heart("life-other", Deadline(8.0)), rig.server.client("other machine")
    for _ in range(5):
        rig.beat(other, store=store)
        with pytest.raises(Refused, match="another machine sends heartbeats as node hv1"):
            rig.beat()
    assert rig.found()[0].incarnation == "life-other"


def test_an_old_record_from_a_restored_store_does_not_silence_us_for_ever(rig: Rig) -> None:
    rig.beat()
    rig.server.client("restore").put(KEY, encode(Heartbeat(node="hv1", incarnation="life-0", beat=9)), if_version=None)
    refused = 0
    for _ in range(5):
        try:
            rig.beat()
        except Refused:
            refused += 1
    assert 1 <= refused <= 3
    assert rig.found()[0].incarnation == "life-1"


def test_a_removed_record_is_made_again(rig: Rig) -> None:
    rig.beat()
    rig.server.client("hand").delete(KEY, if_version=None)
    rig.beat()
    assert rig.found()[1] == 0


def test_a_record_that_is_none_is_written_over(rig: Rig) -> None:
    rig.server.client("hand").create(KEY, b"garbage")
    rig.beat()
    assert rig.found()[0].incarnation == "life-1"


def test_facts_are_the_machines_own() -> None:
    facts = read_facts(SystemClock().boottime_s(), Path("/nonexistent"), Nics())
    assert 0 < facts.memory_free_bytes < facts.memory_total_bytes
    assert facts.load >= 0 and facts.cpu_count >= 1 and facts.report is None


def test_what_pvcnoded_told_is_passed_on_with_its_age(rig: Rig, tmp_path: Path) -> None:
    write_report(tmp_path, Report(at_boottime_s=991.0, running=("u1",), memory_allocated_bytes=7))
    rig.beat(rig.new_heart("life-1", rig.deadline, lambda: Facts(1, 1, report=read_report(tmp_path, rig.clock.now_s))))
    found, _ = rig.found()
    assert (found.told_s, found.running, found.memory_allocated_bytes) == (10.0, ("u1",), 7)
    assert read_report(tmp_path, 900.0) is None, "of an earlier boot"


def test_rates_are_over_the_time_between_two_looks(tmp_path: Path) -> None:
    for name in ("eth0", "vnet3", "lo"):
        (tmp_path / name / "statistics").mkdir(parents=True)
        for counter in COUNTERS:
            (tmp_path / name / "statistics" / counter).write_text("1000")
    (tmp_path / "eth0" / "operstate").write_text("up\n")
    nics = Nics(tmp_path)
    assert nics.rates(10.0)["eth0"]["rx_bps"] == 0
    (tmp_path / "eth0" / "statistics" / "rx_bytes").write_text("2000")
    found = nics.rates(12.0)
    assert list(found) == ["eth0"]
    assert (found["eth0"]["rx_bps"], found["eth0"]["total_bps"], found["eth0"]["state"]) == (4000, 4000, "up")
