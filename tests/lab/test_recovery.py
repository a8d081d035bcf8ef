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

GUEST = "lost"


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


def _where(lab: RunningLab) -> str:
    return str(lab.api.get(f"/vm/{GUEST}")[0]["node"])


def _state(lab: RunningLab, node: str) -> str:
    return str(lab.api.get(f"/node/{node}")[0]["daemon_state"])


def _is_primary(lab: RunningLab, node: str) -> bool:
    return str(lab.api.get(f"/node/{node}")[0]["coordinator_state"]) == "primary"
