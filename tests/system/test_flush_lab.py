"""Real nodes that are flushed, made ready, shut down and booted while their guests count seconds; with the primary's
daemon, and the node's own, killed in the middle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab import LabError
from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]

VMS = ("leaves1", "leaves2", "leaves3")


@pytest.fixture(scope="module")
def three(lab3: RunningLab) -> Iterator[RunningLab]:
    """The lab, with three guests that tick on hv1."""
    for name in VMS:
        lab3.guest(name, node="hv1")
    yield lab3
    for name in VMS:
        lab3.remove_guest(name)
    lab3.eventually(lambda: _node(lab3, "hv1")["domain_state"] == "ready", "hv1 is left as it was")


def test_flush_and_ready_with_daemons_killed(three: RunningLab) -> None:
    before = {name: _ticks(three, name) for name in VMS}
    three.api.post("/node/hv1/domain-state", state="flush")
    three.eventually(lambda: any(_vm(three, name)["state"] == "migrate" for name in VMS), "one is on its way")
    three.kill(_primary(three), "pvcnoded")
    three.kill("hv1", "pvcnoded")
    three.eventually(lambda: _node(three, "hv1")["domain_state"] == "flushed", "it is flushed", deadline_s=180)
    assert all(_vm(three, name)["node"] != "hv1" and _vm(three, name)["migrated"] == "yes" for name in VMS)
    said = three.pvc("node", "ready", "hv1", "--wait")
    assert said.returncode == 0 and "takes guests" in said.stdout and "3 VMs are back on hv1" in said.stderr, said
    assert [_vm(three, name)["node"] for name in VMS] == ["hv1"] * 3
    _count_on(three, before, VMS)


def test_one_that_cannot_leave_is_named(three: RunningLab) -> None:
    three.api.post(f"/vm/{VMS[0]}/meta", limit="hv1")
    said = three.pvc("node", "flush", "hv1", "--wait")
    assert said.returncode != 0, said
    assert f"VM {VMS[0]}: fits nowhere" in said.stderr and "not among the VM's node limit (hv1)" in said.stderr
    assert _node(three, "hv1")["domain_state"] == "flush" and _vm(three, VMS[0])["node"] == "hv1"
    assert VMS[0] in _node(three, "hv1")["status"]
    assert three.pvc("node", "ready", "hv1", "--wait").returncode == 0
    assert [_vm(three, name)["node"] for name in VMS] == ["hv1"] * 3


def test_a_stopped_daemon_keeps_its_guests(three: RunningLab) -> None:
    before = {name: _ticks(three, name) for name in VMS}
    three.stop("hv1", "pvcnoded")
    three.eventually(lambda: _node(three, "hv1")["daemon_state"] == "stop", "its daemon is stopped")
    assert "guests run on" in _node(three, "hv1")["status"]
    three.start("hv1", "pvcnoded")
    _count_on(three, before, VMS)
    assert [_vm(three, name)["node"] for name in VMS] == ["hv1"] * 3


def test_a_node_that_is_shut_down_leaves_on_purpose_and_comes_back(three: RunningLab) -> None:
    """One guest cannot move (its node limit, from the test before): it is shut down, and started again."""
    before = {name: _ticks(three, name) for name in VMS}
    three.shut_down("hv1")
    away, stays = VMS[1:], VMS[0]
    assert all(_vm(three, name)["node"] != "hv1" and _vm(three, name)["state"] == "start" for name in away)
    vm = _vm(three, stays)
    assert (vm["state"], vm["node"], vm["node_autostart"]) == ("stop", "hv1", True)
    assert vm["status"] == "off; it is started when node hv1 gets ready"
    three.eventually(lambda: "on purpose" in _node(three, "hv1")["status"], "its record says so")
    assert _node(three, "hv1")["daemon_state"] == "stop"
    three.power_on("hv1")
    three.eventually(lambda: _node(three, "hv1")["domain_state"] == "ready", "it takes guests again", deadline_s=180)
    three.eventually(lambda: [_vm(three, name)["node"] for name in VMS] == ["hv1"] * 3, "all are back", deadline_s=120)
    _count_on(three, before, away)
    began_anew = "the one that was shut down counts from 1 again"
    three.eventually(lambda: 0 < _ticks(three, stays) < before[stays], began_anew, deadline_s=120)
    assert not _vm(three, stays)["node_autostart"]


def test_rebalance_shows_its_plan_and_carries_it_out(three: RunningLab) -> None:
    before = {name: _ticks(three, name) for name in VMS[1:]}
    plan = three.api.get("/cluster/rebalance")
    assert plan and all(move["source"] == "hv1" and move["name"] in VMS[1:] and move["why"] for move in plan), plan
    shown = three.pvc("cluster", "rebalance", "--dry-run")
    assert shown.returncode == 0 and all(move["name"] in shown.stdout for move in plan), shown
    assert [_vm(three, name)["node"] for name in VMS] == ["hv1"] * 3, "a dry run moves nothing"
    said = three.pvc("cluster", "rebalance")
    assert said.returncode == 0 and "moved" in said.stdout, said
    assert {move["name"]: _vm(three, move["name"])["node"] for move in plan} == {
        move["name"]: move["target"] for move in plan
    }
    _count_on(three, before, VMS[1:])


def _count_on(lab: RunningLab, before: dict[str, int], names: tuple[str, ...]) -> None:
    """None began anew: that one would count from 1 again."""
    for name in names:
        lab.eventually(lambda name=name: _ticks(lab, name) > before[name] + 1 > 1, f"{name} counts on")


def _ticks(lab: RunningLab, name: str) -> int:
    try:
        return lab.ticks(name)
    except LabError:
        return 0


def _vm(lab: RunningLab, name: str) -> dict[str, Any]:
    (vm,) = lab.api.get(f"/vm/{name}")
    return dict(vm)


def _node(lab: RunningLab, name: str) -> dict[str, Any]:
    (node,) = lab.api.get(f"/node/{name}")
    return dict(node)


def _primary(lab: RunningLab) -> str:
    return next(str(node["name"]) for node in lab.api.get("/node") if node["coordinator_state"] == "primary")
