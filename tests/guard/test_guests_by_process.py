"""Freezing, thawing and killing real QEMU processes, without libvirt (safety A10, A14, B2)."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvc_core.clock import SystemClock
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.ending import SETTLE_S, Ending
from pvc_core.guard.freezer import NAME, Freezer
from pvc_core.guard.permits import Permits
from pvc_core.guard.processes import Guest, Processes, Standing
from pvc_core.guard.report import Report, write_report

from .conftest import HandClock, until
from .real_guest import RealGuest

pytestmark = pytest.mark.system
A, B = "6a1ecb1e-0000-4000-8000-00000000000a", "6a1ecb1e-0000-4000-8000-00000000000b"


class Ours(Processes):
    """Only the test's own guests: others may run on this machine."""

    def __init__(self, pids: set[int]) -> None:
        super().__init__()
        self.pids = pids

    def guests(self) -> list[Guest]:
        return [guest for guest in super().guests() if guest.pid in self.pids]


@pytest.fixture
def guests(tmp_path: Path) -> Iterator[tuple[RealGuest, RealGuest]]:
    pair = RealGuest(tmp_path, A), RealGuest(tmp_path, B)
    yield pair
    for guest in pair:
        guest.end()


@pytest.fixture
def processes(guests: tuple[RealGuest, RealGuest]) -> Ours:
    ours = Ours({guest.pid for guest in guests})
    assert until(lambda: len(ours.guests()) == 2)
    return ours


def test_a_guest_is_found_by_its_uuid_and_nothing_else_is(processes: Ours, tmp_path: Path) -> None:
    found = {guest.uuid: guest.pid for guest in processes.guests()}
    assert found == {A: min(processes.pids), B: max(processes.pids)} or set(found) == {A, B}
    other = subprocess.Popen(["sleep", "60"])
    script = subprocess.Popen(["sh", "-c", f"sleep 60; : -name -uuid {A}"])
    try:
        everybody = {guest.pid for guest in Processes().guests()}
        assert not {other.pid, script.pid} & everybody
    finally:
        for process in (other, script):
            process.kill()
            process.wait()


def test_a10_frozen_they_execute_nothing_and_lose_nothing(
    guests: tuple[RealGuest, RealGuest], processes: Ours, tmp_path: Path
) -> None:
    freezer = Freezer(tmp_path, processes, SystemClock())
    assert all(guest.executes() for guest in guests)
    assert until(lambda: not freezer.freeze()), "seen to stand still within K, as a rule in the first pass"
    assert all(guest.stands_still() for guest in guests)
    assert {guest.uuid for guest in freezer.frozen} == {A, B}
    freezer.thaw()
    assert all(guest.executes() for guest in guests)
    assert not freezer.frozen
    assert not (tmp_path / NAME).exists()


def test_a_guard_that_begins_anew_thaws_what_the_one_before_froze(
    guests: tuple[RealGuest, RealGuest], processes: Ours, tmp_path: Path
) -> None:
    assert until(lambda: not Freezer(tmp_path, processes, SystemClock()).freeze())
    Freezer(tmp_path, processes, SystemClock()).thaw()
    assert all(guest.executes() for guest in guests)


def test_who_was_stopped_by_somebody_else_is_not_continued(
    guests: tuple[RealGuest, RealGuest], processes: Ours, tmp_path: Path
) -> None:
    os.kill(guests[0].pid, signal.SIGSTOP)
    assert until(guests[0].stands_still)
    freezer = Freezer(tmp_path, processes, SystemClock())
    assert until(lambda: not freezer.freeze())
    freezer.thaw()
    assert guests[1].executes()
    assert guests[0].stands_still()


def test_who_comes_late_or_was_continued_by_hand_is_stopped_by_the_next_pass(
    guests: tuple[RealGuest, RealGuest], processes: Ours, tmp_path: Path
) -> None:
    freezer = Freezer(tmp_path, processes, SystemClock())
    late = processes.pids.pop()
    assert until(lambda: not freezer.freeze())
    processes.pids.add(late)
    for guest in guests:
        os.kill(guest.pid, signal.SIGCONT)
    assert until(lambda: not freezer.freeze())
    assert all(guest.stands_still() for guest in guests)


def test_b12_who_could_start_nowhere_else_goes_on(
    guests: tuple[RealGuest, RealGuest], processes: Ours, tmp_path: Path
) -> None:
    clock = HandClock()
    write_report(tmp_path, Report(at_boottime_s=clock.now_s, only_here=(A,)))
    freezer = Freezer(tmp_path, processes, clock)
    assert until(lambda: not freezer.freeze())
    assert guests[0].executes()
    assert guests[1].stands_still()
    clock.advance(60.0)
    assert until(lambda: not freezer.freeze())
    assert guests[0].stands_still(), "what pvcnoded said a minute ago spares nobody"


def test_a_process_that_got_the_number_of_a_guest_is_not_touched(
    guests: tuple[RealGuest, RealGuest], processes: Ours, tmp_path: Path
) -> None:
    """As it would be after a thousand others: the same number, another beginning."""
    mistaken = Guest(guests[0].pid, 1, A)
    processes.send(mistaken, signal.SIGKILL)
    assert processes.standing(mistaken) is Standing.GONE
    assert guests[0].executes()


def test_b5_killed_they_are_seen_gone_also_when_they_stood_still(
    guests: tuple[RealGuest, RealGuest], processes: Ours, tmp_path: Path
) -> None:
    """A zombie, which its parent has not asked after, is gone: it executes nothing and holds no file."""
    clock = HandClock()
    deadline = Deadline(8.0)
    permits = Permits(tmp_path, clock, deadline)
    permits.give(A, 0, "start", 60.0)
    os.kill(guests[0].pid, signal.SIGSTOP)
    ending = Ending(processes, permits)
    deadline.condemned = "it was silent"
    assert until(lambda: not ending.step(clock.now_s))
    assert not ending.done(clock.now_s)
    assert not list((tmp_path / "permits").iterdir())
    clock.advance(SETTLE_S)
    ending.step(clock.now_s)
    assert ending.done(clock.now_s)
    assert ending.killed == 2
    assert not any(guest.alive() for guest in guests)


def test_who_appears_while_it_ends_is_killed_and_waited_out(
    guests: tuple[RealGuest, RealGuest], processes: Ours, tmp_path: Path
) -> None:
    clock = HandClock()
    ending = Ending(processes, Permits(tmp_path, clock, Deadline(8.0)))
    late = processes.pids.pop()
    assert until(lambda: not ending.step(clock.now_s))
    clock.advance(SETTLE_S - 0.1)
    processes.pids.add(late)
    ending.step(clock.now_s)
    assert until(lambda: not ending.step(clock.now_s))
    assert not ending.done(clock.now_s)
    clock.advance(SETTLE_S)
    ending.step(clock.now_s)
    assert ending.done(clock.now_s)
