"""Guests on a real Ceph in a lab of three nodes: they run with their node's key, move, are snapshotted and rolled back,
and survive the death of their node by storage fencing alone, with every block they wrote in its place.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from ceph_guest import DATA, EXTRA, VM, Writer, disk_xml

from lab import LabError
from tests.lab_fixture import ARMING_S
from tests.lab_fixture import RunningLab as MakeLab

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytestmark = [pytest.mark.system, pytest.mark.slow]
FAILOVER_S = 180.0
ADDRESSES = {"hv1": "10.72.0.11", "hv2": "10.72.0.12", "hv3": "10.72.0.13"}


@pytest.fixture(scope="module")
def ceph_lab() -> Iterator[RunningLab]:
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    running = MakeLab(f"ceph{os.getpid()}", nodes=3, storage="ceph")
    yield running
    running.down()


@pytest.fixture(scope="module")
def writer(ceph_lab: RunningLab) -> Writer:
    """In maintenance, but for the test of fencing: a machine that is busy for seconds condemns nobody."""
    ceph_lab.api.call("POST", "/status", {"state": "true"})
    made = Writer(ceph_lab)
    made.begin("hv2")
    return made


def _watchers(lab: RunningLab, volume: str) -> list[str]:
    """Addresses of those that have it open."""
    said = json.loads(lab.exec("hv1", "timeout", "60", "rbd", "status", f"vms/{volume}", "--format", "json"))
    return [str(one["address"]) for one in said["watchers"]]


def _shut_out(lab: RunningLab) -> str:
    return lab.exec("hv1", "timeout", "60", "ceph", "osd", "blocklist", "ls")


def test_a_guest_runs_with_its_nodes_key_and_moves_to_another(ceph_lab: RunningLab, writer: Writer) -> None:
    lab = ceph_lab
    before = writer.user("hv2")
    assert before.startswith("pvc.hv2.")
    rights = json.loads(lab.exec("hv1", "ceph", "auth", "get", f"client.{before}", "-f", "json"))[0]["caps"]
    assert rights == {"mon": "profile rbd", "osd": "profile rbd pool=vms"}
    assert [one.partition(":")[0] for one in _watchers(lab, DATA)] == [ADDRESSES["hv2"]]
    count = len(writer.blocks())
    writer.move("hv3")
    assert writer.user("hv3").startswith("pvc.hv3.")
    writer.await_more(count)
    assert len(set(writer.blocks())) == 1, "it went on, and was not started anew"
    lab.eventually(
        lambda: [one.partition(":")[0] for one in _watchers(lab, DATA)] == [ADDRESSES["hv3"]], "the source let go"
    )


def test_a_disk_comes_and_goes_while_it_runs(ceph_lab: RunningLab, writer: Writer) -> None:
    lab = ceph_lab
    lab.api.post("/storage/ceph/volume", pool="vms", volume=EXTRA, size="8M")
    lab.api.call("POST", f"/vm/{VM}/device", {}, form={"xml": disk_xml(EXTRA, "sdc")})
    assert [one.partition(":")[0] for one in _watchers(lab, EXTRA)] == [ADDRESSES[writer.node]]
    lab.api.call("DELETE", f"/vm/{VM}/device", {}, form={"xml": disk_xml(EXTRA, "sdc")})
    assert _watchers(lab, EXTRA) == []
    lab.api.delete(f"/storage/ceph/volume/vms/{EXTRA}")


def test_its_disk_is_snapshotted_as_it_runs_and_rolled_back(ceph_lab: RunningLab, writer: Writer) -> None:
    lab, count = ceph_lab, len(writer.blocks())
    lab.api.post("/storage/ceph/snapshot", pool="vms", volume=DATA, snapshot="before")
    writer.await_more(count + 5)
    writer.stop()
    late = len(writer.blocks())
    lab.api.post(f"/storage/ceph/snapshot/vms/{DATA}/before/rollback")
    assert count <= len(writer.blocks()) < late
    writer.start()
    assert len(set(writer.blocks())) == 2, "a new life goes on where the snapshot ended"


def test_a_full_pool_stops_writes_and_says_so_and_they_go_on(ceph_lab: RunningLab, writer: Writer) -> None:
    lab = ceph_lab
    lab.exec("hv1", "ceph", "osd", "pool", "set-quota", "vms", "max_bytes", "1")
    try:
        lab.eventually(lambda: "full" in lab.exec("hv1", "ceph", "health", "detail"), "Ceph sees that it is full")
        lab.eventually(lambda: "full" in json.dumps(lab.api.get("/faults")), "PVC says so", deadline_s=120)
        count, ticks = len(writer.blocks()), lab.ticks(VM)
        lab.eventually(lambda: lab.ticks(VM) > ticks + 1, "the guest itself goes on")
        assert len(writer.blocks()) <= count + 1, "it writes nothing more"
    finally:
        lab.exec("hv1", "ceph", "osd", "pool", "set-quota", "vms", "max_bytes", "0")
    writer.await_more(len(writer.blocks()))
    assert writer.shown()["state"] == "start"


def test_a_lost_node_that_goes_on_writing_is_shut_out_by_storage_alone(ceph_lab: RunningLab, writer: Writer) -> None:
    """Its guard is stopped, so that nobody freezes its guest, and nobody can reach its power: the guest runs twice, and
    writes once.
    """
    lab, lost = ceph_lab, writer.node
    others = [node for node in lab.nodes if node != lost]
    user = writer.user(lost)
    key_file = f"/run/pvc/storage_ceph/{user.removeprefix(f'pvc.{lost}.')}.guest.key"
    lab.api.call("POST", "/status", {"state": "false"})
    time.sleep(ARMING_S)
    lab.bmc(lost, "dead")
    lab.kill(lost, "pvcguard", signal="SIGSTOP")
    lab.eventually(lambda: _lives_on(writer, others), "it runs elsewhere", deadline_s=FAILOVER_S)
    writer.await_more(len(writer.blocks(others[0])))
    assert "running" not in lab.exec(lost, "virsh", "domstate", VM), "the old one stands at its first write"
    assert f"{ADDRESSES[lost]}:0/0" in _shut_out(lab)
    _no_new_one_writes(lab, lost, user, key_file)
    blocks = writer.blocks(others[0])
    assert len(set(blocks)) == 3, "three lives, one after the other"
    lab.kill(lost, "pvcguard", signal="SIGCONT")
    lab.bmc(lost, "ok")
    lab.eventually(lambda: f"{ADDRESSES[lost]}:0/0" not in _shut_out(lab), "the node is let in again", deadline_s=120)
    assert user.removeprefix("pvc.") not in lab.exec("hv1", "ceph", "auth", "ls")
    lab.eventually(lambda: _is_back(lab, lost), "the node is back", deadline_s=120)
    lab.api.call("POST", "/status", {"state": "true"})
    writer.move(lost)
    assert writer.user(lost).startswith(f"pvc.{lost}.") and writer.user(lost) != user
    writer.await_more(len(writer.blocks()))


def test_no_stale_lock_keeps_it_down_after_a_loss_of_all_power(ceph_lab: RunningLab, writer: Writer) -> None:
    lab, count = ceph_lab, len(writer.blocks())
    for node in lab.nodes:
        lab.power_off(node)
    for node in lab.nodes:
        lab.power_on(node)
    lab.eventually(lab.api.answers, "the API answers", deadline_s=120)
    lab.eventually(lambda: _writes(writer, count), "the guest writes again", deadline_s=FAILOVER_S)


def _lives_on(writer: Writer, nodes: list[str]) -> bool:
    try:
        return writer.node in nodes and "running on" in writer.shown()["status"]
    except (LabError, KeyError):
        return False


def _is_back(lab: RunningLab, node: str) -> bool:
    try:
        return bool(lab.api.get(f"/node/{node}")["daemon_state"] == "run")
    except LabError:
        return False


def _writes(writer: Writer, than: int) -> bool:
    try:
        return len(writer.blocks()) > than + 2
    except LabError:
        return False


def _no_new_one_writes(lab: RunningLab, node: str, user: str, key_file: str) -> None:
    """A QEMU that begins on the lost node with all that is on its disk: that life's key, and Ceph's administrator's."""
    key = lab.exec(node, "cat", key_file).strip()
    image = f"rbd:vms/{DATA}:conf=/etc/ceph/ceph.conf"
    living = next(one for one in lab.nodes if one != node)
    lab.exec(living, "timeout", "60", "qemu-io", "-r", "-f", "raw", "-c", "read 0 512", f"{image}:id=admin")
    for who in (f"id={user}:key={key}", "id=admin"):
        argv = ("timeout", "60", "qemu-io", "-f", "raw", "-c", "write -P 7 0 512", f"{image}:{who}")
        with pytest.raises(LabError):
            lab.exec(node, *argv)
