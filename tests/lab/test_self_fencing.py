"""Three real nodes and their guards: who is cut off alone stands still in time, who lost only the store goes on, and
nobody loses a guest by it (safety A2, A9, A10, A12, A13).

Execution is measured from outside (executing.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from executing import executes, is_stopped, processes, stands_still

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]

LIMIT_S, FREEZE_S = 8.0, 1.0
SLACK_S = 2.0
"""For a machine that is shared with everything else; the guard's own figure is in its log."""


@pytest.fixture(scope="module")
def guests(lab3: RunningLab) -> Iterator[dict[str, str]]:
    """Node -> the UUID of the guest that counts there."""
    uuids = {}
    for node in lab3.nodes:
        lab3.guest(f"still-{node}", node=node)
        uuids[node] = str(lab3.api.get(f"/vm/still-{node}")[0]["uuid"])
    yield uuids
    for node in lab3.nodes:
        lab3.remove_guest(f"still-{node}")


@pytest.fixture
def nobody_judges(lab3: RunningLab) -> Iterator[None]:
    """What is asked is the guard alone: a judge would give up, and switch off, a node that is cut off."""
    for node in lab3.nodes:
        lab3.kill(node, "pvcnoded", signal="SIGSTOP")
    yield
    for node in lab3.nodes:
        lab3.kill(node, "pvcnoded", signal="SIGCONT")
    _whole(lab3)


@pytest.mark.usefixtures("nobody_judges")
def test_a2_cut_off_alone_it_stands_still_in_time_and_goes_on_when_it_is_heard(
    lab3: RunningLab, guests: dict[str, str]
) -> None:
    uuid, life = guests["hv3"], lab3.exec("hv3", "cat", "/run/pvc/incarnation")
    lab3.cut("hv3")
    began = time.monotonic()
    while not is_stopped(uuid):
        assert time.monotonic() - began < LIMIT_S + FREEZE_S + SLACK_S, "it executes still"
        time.sleep(0.1)
    print(f"stood still {time.monotonic() - began:.1f} s after the cut")
    assert stands_still(uuid)
    assert not _taps_up(lab3, "hv3"), "nobody hears it either"
    assert all(executes(guests[node]) for node in ("hv1", "hv2")), "the others heard each other all the time"
    lab3.heal("hv3")
    began = time.monotonic()
    lab3.eventually(lambda: executes(uuid, for_s=0.3), "it goes on")
    print(f"went on {time.monotonic() - began:.1f} s after the heal")
    assert _taps_up(lab3, "hv3")
    assert lab3.exec("hv3", "cat", "/run/pvc/incarnation") == life


def test_a10_the_switch_is_off_all_stand_still_and_none_is_lost(lab3: RunningLab, guests: dict[str, str]) -> None:
    pids = {node: _pids(uuid) for node, uuid in guests.items()}
    for node in lab3.nodes:
        lab3.cut(node)
    lab3.eventually(lambda: all(stands_still(uuid, for_s=0.5) for uuid in guests.values()), "all stand still")
    for node in lab3.nodes:
        lab3.heal(node)
    lab3.eventually(lambda: all(executes(uuid, for_s=0.5) for uuid in guests.values()), "all go on", deadline_s=90)
    assert {node: _pids(uuid) for node, uuid in guests.items()} == pids, "the same processes: none was lost"
    _whole(lab3)


def test_a9_the_store_gone_for_all_stops_no_guest(lab3: RunningLab, guests: dict[str, str]) -> None:
    """Longer than two limits; the guards' own clocks say how near it came."""
    for node in lab3.nodes:
        lab3.stop(node, "pvc-zookeeper")
    began = time.monotonic()
    while time.monotonic() - began < 2.2 * LIMIT_S:
        for node, uuid in guests.items():
            assert executes(uuid, for_s=0.8), f"the guest on {node} stands still"
    for node in lab3.nodes:
        assert _status(lab3, node)["promised_boottime_s"] > 0, "it was by promises"
    for node in lab3.nodes:
        lab3.start(node, "pvc-zookeeper")
    _whole(lab3)
    assert all(executes(uuid) for uuid in guests.values())


def test_a12_a_pvcnoded_that_hangs_disturbs_nobody(lab3: RunningLab, guests: dict[str, str]) -> None:
    lab3.kill("hv2", "pvcnoded", signal="SIGSTOP")
    try:
        began = time.monotonic()
        while time.monotonic() - began < LIMIT_S + 3.0:
            assert executes(guests["hv2"], for_s=0.8)
    finally:
        lab3.kill("hv2", "pvcnoded", signal="SIGCONT")
    _whole(lab3)


@pytest.mark.usefixtures("nobody_judges")
def test_a13_pvcguard_killed_before_while_and_after_they_stand_still(lab3: RunningLab, guests: dict[str, str]) -> None:
    """Cut off, it is killed every second: whoever begins anew keeps the deadline and knows whom to let go."""
    uuid = guests["hv3"]
    lab3.cut("hv3")
    began, killed_s = time.monotonic(), 0.0
    while time.monotonic() - began < LIMIT_S + 3 * FREEZE_S + SLACK_S:
        if time.monotonic() - killed_s > 3.0:
            killed_s = time.monotonic()
            lab3.kill("hv3", "pvcguard")
        time.sleep(0.1)
    lab3.eventually(lambda: stands_still(uuid), "it stands still though its guard was killed", deadline_s=15)
    lab3.heal("hv3")
    lab3.kill("hv3", "pvcguard")
    lab3.eventually(lambda: executes(uuid), "it goes on", deadline_s=120)


def _pids(uuid: str) -> list[str]:
    return sorted(path.name for path in processes(uuid))


def _status(lab: RunningLab, node: str) -> dict[str, float]:
    found: dict[str, float] = json.loads(lab.exec(node, "cat", "/run/pvc/deadline"))
    return found


def _taps_up(lab: RunningLab, node: str) -> bool:
    """Whether a tap of a guest there carries anything."""
    links = json.loads(lab.exec(node, "ip", "-j", "link", "show"))
    return any(link["ifname"].startswith("vnet") and "UP" in link["flags"] for link in links)


def _whole(lab: RunningLab) -> None:
    """As the next test wants to find it: every node at work, heard, with nobody standing still."""

    def whole() -> bool:
        states = [item["daemon_state"] for item in lab.api.get("/node")]
        return states == ["run"] * len(lab.nodes) and sorted(map(lab.store_role, lab.nodes)) == [
            "follower",
            "follower",
            "leader",
        ]

    lab.eventually(whole, "all nodes are at work again", deadline_s=120)
