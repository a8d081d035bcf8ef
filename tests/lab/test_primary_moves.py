"""The primary in a lab: on request, without power, without its daemon, cut off. An observer on the same wires asks for
the floating addresses all the while and hears never two, and every new holder announces itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from address_watch import AddressWatch, now_s
from fault_watch import all_well, holders, primary, say

from lab import LabError, network

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def nobody_is_fenced(lab3: RunningLab) -> Iterator[None]:
    """What the lease alone does; with fencing the old primary boots again meanwhile (test_failover.py)."""
    with lab3.unfenced():
        yield


@pytest.fixture
def watch(lab3: RunningLab) -> Iterator[AddressWatch]:
    all_well(lab3)
    watch = AddressWatch(lab3)
    old, since_s = primary(lab3), now_s()
    lab3.eventually(lambda: watch.answers(old, since_s=since_s), f"the observer hears {old}")
    yield watch
    watch.stop()
    all_well(lab3)


def test_on_request(lab3: RunningLab, watch: AddressWatch) -> None:
    old = primary(lab3)
    new = next(name for name in lab3.coordinators if name != old)
    for words, holder, before in ((("primary", new), new, old), (("secondary", new), "", new)):
        since_s = now_s()
        done = lab3.pvc("node", *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"Node {new} is "), done.stdout
        lab3.eventually(lambda before=before, since_s=since_s: watch.anyone(before, since_s=since_s), "another answers")
        now = holder or watch.anyone(before, since_s=since_s)
        took_s = watch.check_handover(before, now, since_s=since_s)
        print(f"pvc node {' '.join(words)}: {now} answered on all networks {took_s:.2f} s after the command began")


def test_the_primary_loses_power(lab3: RunningLab, watch: AddressWatch) -> None:
    old, since_s = primary(lab3), now_s()
    lab3.power_off(old)
    try:
        off_s = now_s()
        lab3.eventually(lambda: watch.anyone(old, since_s=off_s), "another has all three addresses")
        new = watch.anyone(old, since_s=off_s)
        print(f"power off: {watch.check_handover(old, new, since_s=since_s):.2f} s")
        lab3.eventually(lambda: _states(lab3, new)[old][0] == "dead", f"{old} is called dead")
        assert _states(lab3, new)[new] == ("run", "primary", "ready")
    finally:
        lab3.power_on(old)


def test_its_daemon_is_killed(lab3: RunningLab, watch: AddressWatch) -> None:
    """It begins anew within its lease, with a new term: nobody else takes the role, and no address goes."""
    old, since_s = primary(lab3), now_s()
    before = lab3.units(old)["pvcnoded"]["pid"]
    lab3.kill(old, "pvcnoded")
    lab3.eventually(lambda: lab3.units(old)["pvcnoded"]["pid"] not in (before, None, 0), "it is started again")
    lab3.eventually(lambda: primary(lab3), "one node has all three addresses")
    again_s = now_s()
    lab3.eventually(lambda: watch.anyone(since_s=again_s), "somebody answers")
    new = watch.anyone(since_s=again_s)
    if new != old:  # a machine that needs longer than the lease to start a daemon
        watch.check_handover(old, new, since_s=since_s)
    print(f"pvcnoded of {old} killed: {new} is primary")


def test_its_daemon_hangs(lab3: RunningLab, watch: AddressWatch) -> None:
    """The guard takes its addresses down when the lease ends, before another has them; woken, it does nothing late."""
    old, since_s = primary(lab3), now_s()
    lab3.kill(old, "pvcnoded", signal="SIGSTOP")
    try:
        stopped_s = now_s() + 1.0
        lab3.eventually(lambda: watch.anyone(old, since_s=stopped_s), "another has all three addresses")
        assert not [net.name for net in network.NETWORKS if old in holders(lab3, net)]
        new = watch.anyone(old, since_s=stopped_s)
        took_s = watch.check_handover(old, new, since_s=since_s)
        print(f"pvcnoded of {old} stopped: {new} answered after {took_s:.2f} s")
        lab3.eventually(lambda: _states(lab3, new)[old][0] == "stop", f"the daemon of {old} is known to be silent")
        assert "has said nothing for" in _status(lab3, new, old)
    finally:
        lab3.kill(old, "pvcnoded", signal="SIGCONT")
    lab3.eventually(lambda: _states(lab3, new)[old][:2] == ("run", "secondary"), f"{old} is a secondary")
    watch.check_handover(old, new, since_s=since_s)


def test_it_is_cut_off(lab3: RunningLab, watch: AddressWatch) -> None:
    """Nobody hears what it does: so it is looked at itself, at the moment the new one is first heard."""
    old, since_s = primary(lab3), now_s()
    lab3.cut(old)
    try:
        cut_s = now_s()
        lab3.eventually(lambda: watch.anyone(old, since_s=cut_s), "another has all three addresses")
        left = [net.name for net in network.NETWORKS if old in holders(lab3, net)]
        assert not left, f"{old} still has its floating addresses on {left}"
        new = watch.anyone(old, since_s=cut_s)
        print(f"cut: {watch.check_handover(old, new, since_s=since_s):.2f} s")
    finally:
        lab3.heal(old)
    lab3.eventually(lambda: _states(lab3, new)[old][:2] == ("run", "secondary"), f"{old} is a secondary")
    watch.check_handover(old, new, since_s=since_s)


def _states(lab: RunningLab, at: str) -> dict[str, tuple[str, str, str]]:
    """By node: daemon, coordinator and domain state, as the API of `at` shows them."""
    try:
        nodes = say(lab, at, "GET", "/node").body
    except LabError:
        return {name: ("", "", "") for name in lab.nodes}
    return {item["name"]: (item["daemon_state"], item["coordinator_state"], item["domain_state"]) for item in nodes}


def _status(lab: RunningLab, at: str, of: str) -> str:
    return str(say(lab, at, "GET", f"/node/{of}").body[0]["status"])
