"""What the deadline means for guests, on a clock that is moved by hand (safety A2, A10, A12, B3, B12)."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import pytest

from pvc_core.daemon.once import Once
from pvc_core.errors import Refused
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.ending import SETTLE_S, Ending
from pvc_core.guard.freezer import Freezer
from pvc_core.guard.permits import Permits
from pvc_core.guard.processes import Guest, Processes, Standing
from pvc_core.guard.selffence import SelfFence
from pvc_core.guard.watch import Watch

from .conftest import UUID, HandClock


class HandProcesses(Processes):
    """One guest; what signals do to it is written here. `stuck`: it waits in the kernel whatever it is told."""

    def __init__(self) -> None:
        self.there = [Guest(100, 5, UUID)]
        self.state = Standing.RUNNING
        self.stuck = False
        self.broken = False

    def guests(self) -> list[Guest]:
        if self.broken:
            raise OSError("no /proc")
        return self.there

    def send(self, guest: Guest, number: signal.Signals) -> None:
        if self.stuck:
            self.state = Standing.STUCK
        elif number is signal.SIGKILL:
            self.there, self.state = [], Standing.GONE
        else:
            self.state = Standing.STOPPED if number is signal.SIGSTOP else Standing.RUNNING

    def standing(self, guest: Guest) -> Standing:
        return self.state

    def taps(self, guest: Guest) -> list[str]:
        return []


class Rig:
    """A node whose guard was heard a moment ago."""

    def __init__(self, run: Path, clock: HandClock) -> None:
        self.clock = clock
        self.processes = HandProcesses()
        self.deadline = Deadline(8.0)
        self.permits = Permits(run, clock, self.deadline)
        self.resets: list[float] = []
        self.fed: list[float] = []
        once = Once(logging.getLogger("test"), clock)
        self.fence = SelfFence(
            self.deadline,
            Freezer(run, self.processes, clock),
            Ending(self.processes, self.permits),
            once,
            freeze_s=1.0,
            reset=lambda: self.resets.append(clock.now_s),
        )
        self.watch = Watch(self.deadline, self.permits, self.fence, clock, once, run, self)
        self.heard()

    def feed(self, now_s: float) -> None:
        self.fed.append(now_s)

    def heard(self, *, armed: bool = True, ago_s: float = 0.0) -> None:
        self.deadline.sending(armed=armed, limit_s=8.0)
        self.deadline.accepted(self.clock.now_s - ago_s, armed=armed, limit_s=8.0)

    def passes(self, seconds: float) -> None:
        """As the thread would wake."""
        until_s = self.clock.now_s + seconds
        while self.clock.now_s < until_s:
            self.clock.advance(min(self.watch._wait_s(), until_s - self.clock.now_s) or 0.01)
            self.watch.tick()

    @property
    def frozen(self) -> bool:
        return self.processes.state is Standing.STOPPED


@pytest.fixture
def rig(tmp_path: Path, clock: HandClock) -> Rig:
    return Rig(tmp_path, clock)


def test_a2_it_counts_from_the_sending_and_stands_still_at_the_deadline(rig: Rig) -> None:
    rig.clock.advance(1.0)
    rig.heard(ago_s=0.7)
    rig.passes(7.25)
    assert not rig.frozen
    rig.passes(0.1)
    assert rig.frozen


def test_a10_only_an_accepted_heartbeat_lets_it_go_on(rig: Rig) -> None:
    rig.passes(40.0)
    assert rig.frozen
    rig.deadline.prolong(rig.clock.now_s + 3, rig.clock.now_s)
    rig.passes(1.0)
    assert rig.frozen, "a promise that comes too late"
    rig.heard()
    rig.passes(0.6)
    assert not rig.frozen
    rig.passes(8.0)
    assert rig.frozen


def test_a12_it_does_not_need_pvcnoded(rig: Rig, tmp_path: Path) -> None:
    assert not list(tmp_path.glob("report"))
    rig.passes(8.1)
    assert rig.frozen


def test_a19_disarmed_counts_once_it_was_heard(rig: Rig) -> None:
    rig.deadline.sending(armed=False, limit_s=8.0)
    rig.passes(8.1)
    assert rig.frozen, "nobody may have heard of maintenance"
    rig.heard(armed=False)
    rig.passes(60.0)
    assert not rig.frozen


def test_b3_after_a_gap_the_deadline_is_looked_at_before_anything_else(rig: Rig) -> None:
    rig.clock.advance(3600.0)
    rig.watch.tick()
    assert rig.frozen


def test_b12_alone_it_never_freezes(rig: Rig) -> None:
    rig.clock.advance(1.0)
    rig.heard(armed=False)
    rig.passes(3600.0)
    assert not rig.frozen


def test_b2_what_waits_in_the_kernel_is_not_called_still_and_the_dog_bites(rig: Rig) -> None:
    rig.processes.stuck = True
    rig.passes(8.1)
    fed = len(rig.fed)
    rig.passes(0.8)
    assert not rig.resets, "K has not passed"
    rig.passes(0.4)
    assert rig.resets
    assert len(rig.fed) == fed


def test_the_dog_is_fed_while_guests_may_run_and_while_they_are_seen_to_stand_still(rig: Rig) -> None:
    rig.passes(30.0)
    assert rig.frozen
    gaps = [later - earlier for earlier, later in zip(rig.fed, rig.fed[1:], strict=False)]
    assert max(gaps) <= 1.0
    rig.processes.broken = True
    fed = len(rig.fed)
    rig.passes(5.0)
    assert len(rig.fed) <= fed + 1, "what cannot be seen is not safe"


@pytest.mark.parametrize("frozen_before", [True, False])
def test_b5_condemned_it_kills_and_is_over_when_all_were_seen_gone(rig: Rig, frozen_before: bool) -> None:
    if frozen_before:
        rig.passes(9.0)
    else:
        rig.permits.give(UUID, 1, "start", 60.0)
    rig.deadline.condemned = "it was silent"
    rig.passes(0.6)
    assert rig.processes.state is Standing.GONE
    assert not rig.fence.over
    rig.passes(SETTLE_S)
    assert rig.fence.over
    assert rig.fence.killed == 1


def test_b2_condemned_and_stuck_there_is_no_word_and_the_machine_is_reset(rig: Rig) -> None:
    rig.processes.stuck = True
    rig.deadline.condemned = "it was silent"
    rig.passes(1.5)
    assert rig.resets
    rig.passes(60.0)
    assert not rig.fence.over


@pytest.mark.parametrize("kind", ["start", "incoming"])
def test_b24_who_may_have_been_given_up_takes_in_no_guest_either(rig: Rig, kind: str) -> None:
    rig.passes(8.1)
    with pytest.raises(Refused, match="has not heard this node for its limit"):
        rig.permits.give(UUID, 1, kind, 60.0)
    rig.heard()
    permit = rig.permits.give(UUID, 1, kind, 60.0)
    assert permit.deadline_boottime_s == rig.clock.now_s + 8.0, "it ends with the node's own time"
    rig.deadline.condemned = "it was silent"
    with pytest.raises(Refused, match="this node is given up"):
        rig.permits.give(UUID, 1, kind, 60.0)
