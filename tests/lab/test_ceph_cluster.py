"""Guests on a real Ceph in a lab of three nodes, used by every test in the order of this file: they run with their
node's key, move, go on while parts of Ceph are lost or full, are rolled back, and survive the death of their node by
storage fencing alone, with every block they wrote in its place.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from ceph_guest import DATA, EXTRA, VM, Writer

from lab import LabError
from tests.lab_fixture import ARMING_S
from tests.lab_fixture import RunningLab as MakeLab

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytestmark = [pytest.mark.system, pytest.mark.slow]
FAILOVER_S = 180.0
LONG_S = 120.0
MIB = 1024**2
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


def test_a_disk_comes_grows_is_emptied_and_goes_before_the_guests_eyes(ceph_lab: RunningLab, writer: Writer) -> None:
    """The guest fills what it gets, and when that grows gives all of it back (lab/guest/disks)."""
    lab = ceph_lab
    lab.api.post("/storage/ceph/volume", pool="vms", volume=EXTRA, size="8M")
    added = lab.pvc("--unsafe", "vm", "volume", "add", VM, f"vms/{EXTRA}", "--disk-id", "sdc")
    assert added.returncode == 0, added.stderr
    lab.eventually(lambda: writer.told("third disk: full"), "the guest sees the disk and fills it", deadline_s=LONG_S)
    assert writer.told("third disk: 16384") and _used_bytes(lab, EXTRA) == 8 * MIB
    assert _users(lab, EXTRA) == [ADDRESSES[writer.node]]
    assert _locks(lab, EXTRA), "who writes holds Ceph's exclusive lock"
    lab.api.call("PUT", f"/storage/ceph/volume/vms/{EXTRA}", {"new_size": "16M"})
    lab.eventually(lambda: writer.told("third disk: given back"), "it sees that it grew", deadline_s=LONG_S)
    assert writer.told("third disk: 32768")
    lab.eventually(lambda: _used_bytes(lab, EXTRA) == 0, "what the guest gave back is free in Ceph")
    removed = lab.pvc("--unsafe", "vm", "volume", "remove", VM, f"vms/{EXTRA}")
    assert removed.returncode == 0, removed.stderr
    lab.eventually(lambda: writer.told("third disk: gone"), "the guest sees it no more")
    assert _users(lab, EXTRA) == []
    lab.api.delete(f"/storage/ceph/volume/vms/{EXTRA}")


def test_it_writes_on_while_parts_of_ceph_are_lost(ceph_lab: RunningLab, writer: Writer) -> None:
    """At once: a monitor, an OSD of another node, and the manager that counts."""
    lab = ceph_lab
    away = next(node for node in ("hv1", "hv2") if node != lab.api.get("/status")["primary_node"])
    manager = _manager(lab)
    lost = {(away, "lab-ceph-osd"), (away, "lab-ceph-mon"), (manager, "lab-ceph-mgr")}
    for node, unit in lost:
        lab.stop(node, unit)
    try:
        lab.eventually(lambda: _manager(lab) not in ("", manager), "the other manager counts", deadline_s=LONG_S)
        words = ("1/3 mons down", "1 osds down")
        lab.eventually(lambda: all(one in _told(lab) for one in words), "PVC says what is lost", deadline_s=LONG_S)
        writer.await_more(len(writer.blocks("hv3")))
    finally:
        for node, unit in lost:
            lab.start(node, unit)
    lab.eventually(lambda: "health: " in _told(lab) and " down" not in _told(lab), "all is back", deadline_s=LONG_S)
    assert len(set(writer.blocks())) == 1


def test_a_full_pool_stops_writes_and_they_go_on(ceph_lab: RunningLab, writer: Writer) -> None:
    lab = ceph_lab
    lab.exec("hv1", "timeout", "60", "ceph", "osd", "pool", "set-quota", "vms", "max_bytes", "1")
    try:
        lab.eventually(lambda: "full" in _told(lab), "PVC says that it is full", deadline_s=LONG_S)
        count, ticks = len(writer.blocks()), lab.ticks(VM)
        lab.eventually(lambda: lab.ticks(VM) > ticks + 2, "the guest itself goes on")
        assert len(writer.blocks()) <= count + 1, "it writes nothing more"
        with pytest.raises(LabError, match=r"full|free"):
            lab.api.post("/storage/ceph/volume", pool="vms", volume=EXTRA, size="8M")
    finally:
        lab.exec("hv1", "timeout", "60", "ceph", "osd", "pool", "set-quota", "vms", "max_bytes", "0")
    writer.await_more(len(writer.blocks()))
    assert len(set(writer.blocks())) == 1 and writer.shown()["state"] == "start"


def test_it_is_rolled_back_and_survives_its_node_by_storage_fencing_alone(ceph_lab: RunningLab, writer: Writer) -> None:
    """It has moved before: on RBD, on three nodes, it is snapshotted and rolled back, and its node dies."""
    lab, count = ceph_lab, len(writer.blocks())
    lab.api.post("/storage/ceph/snapshot", pool="vms", volume=DATA, snapshot="before")
    writer.await_more(count + 3)
    late = len(writer.blocks())
    lab.api.post(f"/vm/{VM}/state", state="stop")
    lab.eventually(lambda: _rolled_back(lab), "it waits until the guest is off, and is done", deadline_s=LONG_S)
    assert count <= len(writer.blocks()) < late
    writer.start()
    assert len(set(writer.blocks())) == 2, "a new life goes on where the snapshot ended"
    _lose_its_node(lab, writer)


def _lose_its_node(lab: RunningLab, writer: Writer) -> None:
    """Its guard is stopped, so that nobody freezes its guest, and nobody can reach its power: the guest runs twice, and
    writes once.
    """
    lost = writer.node
    others = [node for node in lab.nodes if node != lost]
    lives = len(set(writer.blocks()))
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
    assert len(set(writer.blocks(others[0]))) == lives + 1, "another life, behind the last one's blocks"


def _rbd(lab: RunningLab, *words: str) -> str:
    node = next(one for one in lab.nodes if lab.is_on(one))
    return lab.exec(node, "timeout", "60", "rbd", *words, "--format", "json")


def _users(lab: RunningLab, volume: str) -> list[str]:
    """Addresses, without ports, of those that have it open."""
    watchers = json.loads(_rbd(lab, "status", f"vms/{volume}"))["watchers"]
    return [str(one["address"]).partition(":")[0] for one in watchers]


def _locks(lab: RunningLab, volume: str) -> list[object]:
    found: list[object] = json.loads(_rbd(lab, "lock", "ls", f"vms/{volume}"))
    return found


def _used_bytes(lab: RunningLab, volume: str) -> int:
    return int(json.loads(_rbd(lab, "du", f"vms/{volume}"))["images"][0]["used_size"])


def _told(lab: RunningLab) -> str:
    """Ceph's health as PVC shows it: in maintenance, what goes wrong is no fault."""
    try:
        return str(lab.api.get("/storage/ceph/status")["ceph_data"])
    except LabError:
        return ""


def _manager(lab: RunningLab) -> str:
    """Whose manager counts; "" while none does."""
    try:
        told = json.loads(lab.exec("hv3", "timeout", "20", "ceph", "mgr", "stat"))
    except LabError:
        return ""
    return str(told["active_name"]) if told["available"] else ""


def _rolled_back(lab: RunningLab) -> bool:
    """Ceph may have the guest that ended among the volume's users for some seconds more."""
    try:
        lab.api.post(f"/storage/ceph/snapshot/vms/{DATA}/before/rollback")
    except LabError as error:
        assert "wait" in str(error), error
        return False
    return True


def _lives_on(writer: Writer, nodes: list[str]) -> bool:
    try:
        return writer.node in nodes and "running on" in writer.shown()["status"]
    except (LabError, KeyError):
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
