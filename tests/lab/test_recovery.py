"""What a cluster of three real nodes says of its guests and nodes: who keeps ending, who fits nowhere, who is silent
and not given up, and that a node could not be lost, are faults in words. Nodes that are lost: test_failover.py and
test_five_nodes.py.
"""

from __future__ import annotations

import os
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest
from executing import processes

from lab.guest_xml import guest_xml

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]

GUEST, SECOND, SPARE = "lost", "second", "CLUSTER_SPARE"


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


def test_a_node_that_is_silent_and_not_given_up_is_a_fault(lab3: RunningLab) -> None:
    """Its guard was stopped in order, as an upgrade does: that is announced, and waited for."""
    node = next(node for node in lab3.nodes if not _is_primary(lab3, node))
    id = f"SILENT_NODE_{node.upper()}"
    lab3.stop(node, "pvcguard")
    lab3.eventually(lambda: "means to be back" in _kept(lab3).get(id, ""), "its silence is a fault", deadline_s=60)
    lab3.start(node, "pvcguard")
    lab3.eventually(lambda: id not in _kept(lab3), "it is heard again", deadline_s=60)
    lab3.eventually(lambda: _state(lab3, node) == "run", "it is at work")


def test_a_guest_that_keeps_ending_waits_longer_each_time_and_is_a_fault(lab3: RunningLab) -> None:
    uuid = _diskless(lab3, GUEST, 64, lab3.nodes[-1])
    pid = ""
    for _ in range(3):
        pid = _process(lab3, GUEST, uuid, but=pid)
        os.kill(int(pid), signal.SIGKILL)
    ended_s = time.monotonic()
    _process(lab3, GUEST, uuid, but=pid)
    assert time.monotonic() - ended_s > 2.0, "the third time it waits 2 s"
    crashing = f"VM_CRASHING_{GUEST.upper()}"
    lab3.eventually(lambda: "3 times in a row" in _kept(lab3).get(crashing, ""), "it is a fault")
    lab3.remove_guest(GUEST)


def test_a_guest_that_fits_nowhere_waits_in_words_and_starts_when_there_is_room(lab3: RunningLab) -> None:
    """Two that want most of one node's memory each; what they never touch nobody gives them."""
    node = lab3.nodes[-1]
    most = int(lab3.api.get(f"/node/{node}")[0]["memory"]["total"]) * 6 // 10
    _process(lab3, GUEST, _diskless(lab3, GUEST, most, node))
    uuid = _diskless(lab3, SECOND, most, node)
    waiting = f"VM_WAITING_{SECOND.upper()}"
    lab3.eventually(lambda: "fits nowhere" in _kept(lab3).get(waiting, ""), "its wait is a fault", deadline_s=60)
    said = _status(lab3, SECOND)
    assert said.startswith("fits nowhere (") and f"{node}: needs {most} MiB of memory" in said, said
    assert not processes(uuid)
    lab3.remove_guest(GUEST)
    _process(lab3, SECOND, uuid)
    lab3.eventually(lambda: waiting not in _kept(lab3), "it is over", deadline_s=60)
    lab3.remove_guest(SECOND)


def _diskless(lab: RunningLab, name: str, memory_mib: int, node: str) -> str:
    """A started VM of this node alone, which executes its firmware; its UUID."""
    text = re.sub(
        r"<(disk|interface) .*?</\1>", "", guest_xml(name, pool="", volume="", memory_mib=memory_mib), flags=re.S
    )
    words = {"selector": "mem", "autostart": "false", "migration_method": "none", "limit": node, "node": node}
    lab.api.call("POST", "/vm", {}, form={"xml": text, **words})
    lab.api.post(f"/vm/{name}/state", state="start")
    return str(lab.api.get(f"/vm/{name}")[0]["uuid"])


def _process(lab: RunningLab, name: str, uuid: str, *, but: str = "") -> str:
    """The one process of a guest that is said to run; another than `but`."""

    def found() -> list[str]:
        return [path.name for path in processes(uuid) if path.name != but]

    lab.eventually(lambda: _status(lab, name).startswith("running") and found(), f"{name} runs", deadline_s=90)
    (pid,) = found()
    return pid


def _status(lab: RunningLab, name: str) -> str:
    return str(lab.api.get(f"/vm/{name}")[0]["status"])


def _kept(lab: RunningLab) -> dict[str, str]:
    """Each fault's sentence, by its id."""
    return {str(one["id"]): str(one["message"]) for one in lab.api.get("/faults")}


def _faults(lab: RunningLab) -> str:
    said = lab.pvc("cluster", "fault", "list")
    assert said.returncode == 0, said.stderr
    return said.stdout


def _fault(lab: RunningLab) -> dict[str, object]:
    return next((dict(one) for one in lab.api.get("/faults") if one["id"] == SPARE), {})


def _state(lab: RunningLab, node: str) -> str:
    return str(lab.api.get(f"/node/{node}")[0]["daemon_state"])


def _is_primary(lab: RunningLab, node: str) -> bool:
    return str(lab.api.get(f"/node/{node}")[0]["coordinator_state"]) == "primary"
