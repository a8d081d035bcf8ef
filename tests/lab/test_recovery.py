"""Three real nodes, of which one is lost: its guest runs elsewhere, once, and the node is back by itself. Execution is
measured from outside (executing.py).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from executing import executes, processes

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]

GUEST, SPARE = "lost", "CLUSTER_SPARE"


def test_a_hypervisor_loses_its_power_and_its_guest_runs_elsewhere(lab3: RunningLab) -> None:
    victim = next(node for node in lab3.nodes if not _is_primary(lab3, node))
    lab3.guest(GUEST, node=victim)
    uuid = str(lab3.api.get(f"/vm/{GUEST}")[0]["uuid"])
    lab3.power_off(victim)
    began = time.monotonic()
    lab3.eventually(lambda: _where(lab3) not in ("", victim), "another node has it", deadline_s=120)
    lab3.eventually(lambda: executes(uuid, for_s=0.3), "it executes there", deadline_s=60)
    print(f"ran elsewhere {time.monotonic() - began:.1f} s after the power was gone")
    assert len(processes(uuid)) == 1
    lab3.eventually(lambda: _state(lab3, victim) == "run", "its controller switches it on again", deadline_s=180)
    lab3.remove_guest(GUEST)


def test_a_person_vouches_only_for_a_node_that_is_lost(lab3: RunningLab) -> None:
    node = lab3.nodes[0]
    said = lab3.pvc("node", "fence", "-y", node)
    assert said.returncode != 0 and "is heard" in said.stderr + said.stdout


def test_a_fault_is_kept_while_it_is_so_and_may_be_acknowledged_or_deleted(lab3: RunningLab) -> None:
    """The cluster could not lose a node whose guest may run nowhere else."""
    node = lab3.nodes[-1]
    lab3.guest(GUEST, node=node)
    lab3.api.post(f"/vm/{GUEST}/meta", limit=node, priority="5")
    lab3.eventually(lambda: "could not lose" in _faults(lab3), "there is a fault", deadline_s=60)
    assert node in _faults(lab3) and GUEST in _faults(lab3)
    lab3.pvc("cluster", "fault", "ack", SPARE)
    lab3.eventually(lambda: _fault(lab3)["status"] == "ack", "it is acknowledged")
    lab3.pvc("cluster", "fault", "delete", SPARE)
    lab3.eventually(lambda: _fault(lab3).get("status") == "new", "it is still so, and comes back", deadline_s=60)
    lab3.api.post(f"/vm/{GUEST}/meta", limit="")
    lab3.eventually(lambda: not _fault(lab3), "it is over", deadline_s=60)
    lab3.remove_guest(GUEST)


def _faults(lab: RunningLab) -> str:
    said = lab.pvc("cluster", "fault", "list")
    assert said.returncode == 0, said.stderr
    return said.stdout


def _fault(lab: RunningLab) -> dict[str, object]:
    return next((dict(one) for one in lab.api.get("/faults") if one["id"] == SPARE), {})


def _where(lab: RunningLab) -> str:
    return str(lab.api.get(f"/vm/{GUEST}")[0]["node"])


def _state(lab: RunningLab, node: str) -> str:
    return str(lab.api.get(f"/node/{node}")[0]["daemon_state"])


def _is_primary(lab: RunningLab, node: str) -> bool:
    return str(lab.api.get(f"/node/{node}")[0]["coordinator_state"]) == "primary"
