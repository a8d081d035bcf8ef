"""Promises and agreement: a node lives on by a majority's promises, a verdict acts by a majority's agreement, and never
both (safety A9). The real objects on clocks moved by hand; the network between them is a function call.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pvc_core.cluster.layout import HEARTBEATS, VERDICTS
from pvc_core.daemon.once import Once
from pvc_core.guard.agreement import Agreement
from pvc_core.guard.asking import Asker, Heard
from pvc_core.guard.datagram import Question
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.holding import Holding
from pvc_core.guard.neighbours import Neighbours
from pvc_core.guard.promises import Promises
from pvc_core.guard.replies import Replies
from pvc_core.model.node import Heartbeat
from pvc_core.model.verdict import Verdict
from pvc_core.schema.records import decode, encode
from pvc_core.testing.store import FakeStoreServer

from .conftest import HandClock

NAMES = ("c1", "c2", "c3")
P, SILENT = 3.0, 2.8


class Machine:
    """One node's guard, as far as promises go. `hears`: who answers it."""

    def __init__(self, name: str, root: Path, clock: HandClock, net: dict[str, Machine]) -> None:
        self.name, self.run, self.clock, self.net = name, root / name, clock, net
        self.run.mkdir()
        self.deadline = Deadline(8.0, armed=True, last_sent_s=clock.now_s)
        self.hears: set[str] = {*NAMES}
        self.begin()

    def begin(self, life: str = "life-1") -> None:
        """Also again: what is not on disk is forgotten."""
        self.life = life
        self.promises = Promises(
            self.run,
            life,
            coordinator=self.name in NAMES,
            promise_s=P,
            silent_s=SILENT,
            clock=self.clock,
            deadline=self.deadline,
        )
        self.agreement = Agreement(self.name, f"{self.name}@{life}", self.promises)
        self.replies = Replies(
            self.name,
            life,
            deadline=self.deadline,
            promises=self.promises,
            clock=self.clock,
            silent_s=SILENT,
            ended=("life-0",),
        )
        self.holding = Holding(
            node=self.name,
            incarnation=life,
            coordinators=NAMES,
            deadline=self.deadline,
            promises=self.promises,
            neighbours=Known(self.run),
            asker=lambda: Calls(self),
            clock=self.clock,
            once=Once(logging.getLogger("test"), self.clock),
            silent_s=2.0,
            every_s=1.0,
        )
        self.net[self.name] = self

    def heard(self) -> None:
        self.deadline.accepted(self.clock.now_s, armed=True, limit_s=8.0)


class Known(Neighbours):
    def __init__(self, run: Path) -> None:
        super().__init__(run, NAMES)

    def addresses(self) -> Mapping[str, Sequence[str]]:
        return {name: (name,) for name in NAMES}


class Calls(Asker):
    """Questions that arrive at once, where they arrive."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine.name, b"", machine.clock)
        self._machine = machine

    def ask(self, what, targets, *, wait_s, incarnation="", why=""):
        heard = []
        for name in targets:
            if name in self._machine.hears and name in self._machine.net:
                question = Question(
                    ask=what, asker=self._machine.name, node=name, nonce="1", incarnation=incarnation, why=why
                )
                heard.append(Heard(name, self._machine.net[name].replies.answer(question)))
        return heard


class Rig:
    def __init__(self, root: Path, clock: HandClock) -> None:
        self.clock = clock
        self.net: dict[str, Machine] = {}
        self.server = FakeStoreServer(auto=True)
        self.store = self.server.client("all")
        self.store.create(VERDICTS.prefix, b"")
        self.machines = {name: Machine(name, root, clock, self.net) for name in (*NAMES, "hv9")}
        for name in NAMES:
            self.machines[name].agreement.step(self.store)

    def verdict(self, node: str, life: str = "life-1") -> None:
        record = Verdict(node=node, incarnation=life, by="c1", term=1, why="a test", coordinators=NAMES)
        self.store.create(VERDICTS.key(f"{node}@{life}"), encode(record))

    def store_has(self, node: str) -> bool:
        return f"{node}@life-1" in self.store.children(VERDICTS.prefix)

    def agreed(self, node: str) -> Verdict:
        return decode(self.store.get(VERDICTS.key(f"{node}@life-1")).value, Verdict)


@pytest.fixture
def rig(tmp_path: Path, clock: HandClock) -> Rig:
    return Rig(tmp_path, clock)


def test_a9_the_store_gone_for_all_stops_no_guest(rig: Rig, clock: HandClock) -> None:
    """Ten minutes without the store: every node, coordinator or not, goes on by promises."""
    for _ in range(1200):
        clock.advance(0.5)
        for machine in rig.machines.values():
            if machine.holding.needed():
                machine.holding.step()
            assert not machine.deadline.has_passed(clock.now_s)


def test_a9_cut_off_alone_nobody_promises(rig: Rig, clock: HandClock) -> None:
    """The coordinators have the store: they promise nothing, heard or not."""
    alone = rig.machines["hv9"]
    for _ in range(20):
        clock.advance(0.5)
        for name in NAMES:
            rig.machines[name].heard()
        if alone.holding.needed():
            assert not alone.holding.step()
    assert alone.deadline.has_passed(clock.now_s)


def test_a9_a_coordinator_cut_off_alone_has_its_own_promise_only(rig: Rig, clock: HandClock) -> None:
    alone = rig.machines["c3"]
    alone.hears = set()
    clock.advance(5.0)
    assert not alone.holding.step()
    clock.advance(3.0)
    assert alone.deadline.has_passed(clock.now_s)


def test_a9_two_of_three_are_a_majority(rig: Rig, clock: HandClock) -> None:
    del rig.net["c3"]
    clock.advance(5.0)
    assert rig.machines["hv9"].holding.step()
    assert rig.machines["hv9"].deadline.at_s() == max(1008.0, clock.now_s + P)
    del rig.net["c2"]
    assert not rig.machines["hv9"].holding.step()


def test_agreement_waits_until_the_promise_has_run_out_for_every_clock(rig: Rig, clock: HandClock) -> None:
    suspect, c1 = rig.machines["hv9"], rig.machines["c1"]
    clock.advance(5.0)
    assert suspect.holding.step()
    rig.verdict("hv9")
    assert c1.agreement.step(rig.store) == []
    clock.advance(P)
    assert c1.agreement.step(rig.store) == [], "one clock may run faster than the other by r"
    clock.advance(P * 0.001 + 1e-6)
    assert c1.agreement.step(rig.store) == ["hv9@life-1"]
    assert rig.agreed("hv9").agreed == ("c1",)
    assert not rig.agreed("hv9").in_force
    assert rig.machines["c2"].agreement.step(rig.store) == ["hv9@life-1"]
    assert rig.agreed("hv9").in_force


def test_who_has_seen_the_verdict_promises_nothing_any_more(rig: Rig, clock: HandClock) -> None:
    rig.verdict("hv9")
    clock.advance(5.0)
    rig.machines["c1"].agreement.step(rig.store)
    clock.advance(5.0)
    assert rig.machines["c1"].promises.ask("hv9@life-1") == 0.0
    assert rig.machines["c1"].promises.ask("hv9@life-2") == P, "a18: the next life is another"


@pytest.mark.parametrize("name", ["c1", "c2"])
def test_begun_anew_it_remembers_whom_it_refused_and_waits_out_what_it_may_have_promised(
    rig: Rig, clock: HandClock, name: str
) -> None:
    machine = rig.machines[name]
    clock.advance(5.0)
    assert machine.promises.ask("hv9@life-1") == P
    machine.begin()
    rig.verdict("hv9")
    assert machine.agreement.step(rig.store) == [], "the guard before it promised"
    machine.begin()
    clock.advance(P)
    assert machine.promises.ask("hv9@life-1") == 0.0, "refused before, by a guard that is gone"
    clock.advance(0.01)
    assert machine.agreement.step(rig.store) == ["hv9@life-1"]


def test_who_has_never_looked_promises_nothing(rig: Rig, clock: HandClock) -> None:
    """After a boot: it may have agreed to anything in the life before."""
    machine = rig.machines["c1"]
    clock.advance(5.0)
    machine.begin("life-2")
    assert machine.promises.ask("hv9@life-1") == 0.0
    machine.agreement.step(rig.store)
    assert machine.promises.ask("hv9@life-1") == P


def test_nobody_agrees_to_the_verdict_on_himself_and_each_agrees_once(rig: Rig, clock: HandClock) -> None:
    clock.advance(5.0)
    rig.verdict("c1")
    assert rig.machines["c1"].agreement.step(rig.store) == []
    for _ in range(3):
        rig.machines["c2"].agreement.step(rig.store)
    assert rig.agreed("c1").agreed == ("c2",)


def test_a18_release_is_for_one_incarnation(rig: Rig) -> None:
    suspect = rig.machines["hv9"]

    def release(life: str) -> tuple[bool, bool]:
        question = Question(ask="release", asker="c1", node="hv9", nonce="1", incarnation=life, why="silent for 5 s")
        answer = suspect.replies.answer(question)
        return answer.condemned, answer.gone

    assert release("life-0") == (False, True), "ended before, and seen gone"
    assert release("life-7") == (False, False)
    assert release("life-1") == (True, False)
    assert suspect.deadline.condemned == "silent for 5 s"


@pytest.mark.parametrize("seed", range(30))
def test_a9_never_both_a_majority_of_promises_and_of_agreements(rig: Rig, clock: HandClock, seed: int) -> None:
    """Whatever fails in whatever order: from when the verdict is in force, no promise prolongs the node's time."""
    dice = random.Random(seed)
    suspect = rig.machines["hv9"]
    has_store = dict.fromkeys(NAMES, True)
    condemned_s = clock.now_s + dice.uniform(2.0, 12.0)
    in_force_s = None
    for _ in range(200):
        clock.advance(dice.uniform(0.05, 0.5))
        for name in dice.sample(NAMES, 3):
            machine = rig.machines[name]
            has_store[name] ^= dice.random() < 0.06
            if dice.random() < 0.02:
                machine.begin()
            if has_store[name]:
                machine.heard()
                machine.agreement.step(rig.store)
        suspect.hears = {name for name in NAMES if dice.random() < 0.9}
        if suspect.holding.needed():
            suspect.holding.step()
        if clock.now_s > condemned_s and not rig.store_has("hv9"):
            rig.verdict("hv9")
        if in_force_s is None and rig.store_has("hv9") and rig.agreed("hv9").in_force:
            in_force_s = clock.now_s
        if in_force_s is not None:
            at_s = suspect.deadline.at_s()
            assert at_s is not None
            assert at_s <= max(in_force_s, 1008.0), "it goes on by promises though others may act"


def test_neighbours_are_read_while_there_is_a_store_and_known_without(rig: Rig, tmp_path: Path) -> None:
    beat = Heartbeat(node="c2", incarnation="x", beat=1, addresses={"cluster": "10.1.0.2", "storage": "10.2.0.2"})
    rig.store.create(HEARTBEATS.key("c2"), encode(beat))
    before = Neighbours(tmp_path, NAMES)
    for _ in NAMES:
        before.look(rig.store)
    assert Neighbours(tmp_path, NAMES).addresses() == {"c2": ("10.1.0.2", "10.2.0.2")}
