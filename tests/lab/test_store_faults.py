"""What may happen to the store, on a real ensemble: guests never notice, reads say how old they are, writes are refused
in words, and afterwards all is well and nothing has moved or begun anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from fault_watch import Guest, all_well, faults, holders, say

from lab import LabError, network

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]

OUTAGE_S = float(os.environ.get("PVC_OUTAGE_S", "33"))
"""Longer than every interval of the cluster; 600 for the ten minutes of docs/benchmarks.md."""
HANG_S = 9.0
"""Longer than sessions, leases and calls last."""
STORE = "pvc-zookeeper"


@pytest.fixture(scope="module")
def guest(lab3: RunningLab) -> Iterator[Guest]:
    lab3.guest("steady", node="hv3")
    all_well(lab3)
    with lab3.unfenced():
        yield Guest(lab3, "steady", "hv3")
    lab3.remove_guest("steady")


@pytest.fixture
def well(lab3: RunningLab, guest: Guest) -> Iterator[RunningLab]:
    """Afterwards all is well: the guest is the same process and has counted every second."""
    yield lab3
    guest.counts_on()
    all_well(lab3)
    guest.check()


def test_the_leader_is_killed(well: RunningLab, guest: Guest) -> None:
    well.kill(_with_role(well, "leader"), STORE)
    _await_write(well)
    guest.counts_on()


def test_the_whole_ensemble_is_killed(well: RunningLab, guest: Guest) -> None:
    for name in well.coordinators:
        well.kill(name, STORE)
    guest.counts_on()
    _await_write(well)


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_server_hangs(well: RunningLab, guest: Guest, role: str) -> None:
    """Its connections stand and nothing comes: whoever used it finds another one while it hangs."""
    hung = _with_role(well, role)
    well.kill(hung, STORE, signal="SIGSTOP")
    try:
        time.sleep(HANG_S)
        guest.counts_on()
        for name in well.coordinators:
            well.eventually(lambda name=name: _changes(well, name) == 200, f"{name}'s API changes something")
            assert say(well, name, "GET", "/node").stale is None
    finally:
        well.kill(hung, STORE, signal="SIGCONT")


def test_a_server_is_slow(well: RunningLab, guest: Guest) -> None:
    """The leader works for a tenth of a second in each half: nothing is lost by it but time."""
    slow = _with_role(well, "leader")
    for _ in range(12):
        well.kill(slow, STORE, signal="SIGSTOP")
        time.sleep(0.4)
        well.kill(slow, STORE, signal="SIGCONT")
        time.sleep(0.1)
    guest.counts_on()
    _await_write(well)


def test_sessions_expire(well: RunningLab, guest: Guest) -> None:
    """Every client of the primary's node sleeps longer than its session lives."""
    asleep = next(name for name in well.coordinators if name in holders(well, network.UPSTREAM))
    daemons = ("pvcnoded", "pvcapid", "pvcguard")
    for daemon in daemons:
        well.kill(asleep, daemon, signal="SIGSTOP")
    try:
        time.sleep(HANG_S)
        other = next(name for name in well.coordinators if name != asleep)
        well.eventually(lambda: _state(well, other, asleep) == "dead", f"{other} calls {asleep} dead")
    finally:
        for daemon in daemons:
            well.kill(asleep, daemon, signal="SIGCONT")


def test_a_node_is_cut_off(well: RunningLab, guest: Guest) -> None:
    """Its own API shows what it last knew and says how old that is; the others say that it is not heard."""
    well.cut(guest.node)
    try:
        well.eventually(lambda: say(well, guest.node, "GET", "/node").stale, "its API marks what it shows")
        shown = say(well, guest.node, "GET", f"/vm/{guest.name}")
        assert shown.status == 200 and shown.stale and shown.body[0]["stale_s"] == int(shown.stale)
        _refused(well, guest.node)
        words = well.exec(guest.node, "sh", "-c", "pvc vm list 2>&1")
        assert "s ago: the store does not answer." in words and guest.name in words
        others = [name for name in well.coordinators if name != guest.node]
        for name in others:
            well.eventually(lambda name=name: _state(well, name, guest.node) == "dead", f"{name} calls it dead")
            assert say(well, name, "GET", "/node").stale is None
        guest.counts_on()
    finally:
        well.heal(guest.node)


def test_the_quorum_is_lost(well: RunningLab, guest: Guest) -> None:
    """Two of three servers are down for longer than every interval: no node is called dead, nobody stays primary, and
    what is shown grows older and says so.
    """
    down = well.coordinators[:2]
    for name in down:
        well.stop(name, STORE)
    began = time.monotonic()
    try:
        for name in well.coordinators:
            well.eventually(lambda name=name: say(well, name, "GET", "/node").stale, f"{name} marks what it shows")
        before = {name: int(say(well, name, "GET", "/node").stale or 0) for name in well.coordinators}
        well.eventually(lambda: not holders(well, network.UPSTREAM), "the floating address is given back")
        while time.monotonic() - began < OUTAGE_S:
            time.sleep(min(10.0, OUTAGE_S / 4))
            guest.counts_on()
        for name in well.coordinators:
            nodes = say(well, name, "GET", "/node")
            assert int(nodes.stale or 0) > before[name], "it grows older"
            assert {item["daemon_state"] for item in nodes.body} == {"run"}, "nothing is known of heartbeats"
            assert "store" in say(well, name, "GET", "/status").body["status"]
            _refused(well, name)
    finally:
        for name in down:
            well.start(name, STORE)
    back = time.monotonic()
    all_well(well)
    print(f"{OUTAGE_S:.0f} s without a quorum; all was well {time.monotonic() - back:.1f} s after its return")


def test_nothing_was_ever_restarted(lab3: RunningLab, guest: Guest) -> None:
    """After all of that: one run of each daemon of ours, so it was outlived and not begun anew."""
    assert not faults(lab3)
    for name in lab3.nodes:
        restarts = {unit: is_["restarts"] for unit, is_ in lab3.units(name).items() if unit.startswith("pvc")}
        print(name, restarts)
        assert not any(count for unit, count in restarts.items() if unit in ("pvcguard", "pvcapid")), restarts


def _refused(lab: RunningLab, name: str) -> None:
    """A change is refused in one sentence, at once: no call waits for a store that is known to be silent."""
    answer = say(lab, name, "POST", "/status?state=true")
    assert answer.status == 503 and answer.body["code"] == "store_unavailable"
    assert answer.body["message"].startswith("nothing was changed: the store has not answered this API for ")
    assert answer.took_s < 5, "the deadline of a call"


def _changes(lab: RunningLab, name: str) -> int:
    """What asking anew for the maintenance that the guest's fixture asked for is answered with."""
    return say(lab, name, "POST", "/status?state=true").status


def _state(lab: RunningLab, at: str, of: str) -> str:
    return str(say(lab, at, "GET", f"/node/{of}").body[0]["daemon_state"])


def _with_role(lab: RunningLab, role: str) -> str:
    return next(name for name in lab.coordinators if lab.store_role(name) == role)


def _await_write(lab: RunningLab) -> None:
    def accepted() -> bool:
        try:
            return bool(lab.api.post("/status", state="true"))
        except LabError:
            return False

    lab.eventually(accepted, "a write is accepted", deadline_s=90)
