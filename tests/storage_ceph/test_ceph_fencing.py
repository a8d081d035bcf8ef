"""storage_ceph answers the questions about fencing on a real Ceph, and what only it can be asked: both of its layers,
keys and the blocklist, each without the other.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pvc_core.errors import Permanent, Retry
from pvc_core.model.fence import FenceAnswer, Proof, Target, WriteFence
from pvc_core.model.storage import Volume
from pvc_core.testing.contract_storage_fencing import DEADLINE_S, StorageFencingContract, StorageFencingRig
from pvc_storage_ceph.keys import FSID

from .fencing_rig import CephFencingRig, Hub, ceph_on, network_of

pytestmark = pytest.mark.system
HV2 = CephFencingRig.storage_ips["hv2"]


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[object, Hub]]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    directory = Path(tempfile.mkdtemp(prefix="pvc-ceph-", dir="/tmp"))
    hub = Hub()
    try:
        with ceph_on(hub, directory) as ceph:
            yield ceph, hub
    finally:
        hub.end()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def rig(made: tuple[object, Hub], tmp_path: Path) -> Iterator[CephFencingRig]:
    ceph, hub = made
    with network_of(hub.place("10.2.0.11")):
        rig = CephFencingRig(ceph, hub, tmp_path)
        try:
            yield rig
        finally:
            rig.end()


class TestCeph(StorageFencingContract):
    @pytest.fixture
    def rig(self, rig: CephFencingRig) -> StorageFencingRig:
        return rig


def test_an_entry_that_is_gone_lets_the_old_client_write_again(rig: CephFencingRig) -> None:
    """Why entries are made for years, and no client's is ever taken back: one layer alone is not enough."""
    volume = rig.volume("a")
    lost = rig.connect(volume, "hv2", watching=False)
    rig.ceph.command("osd", "blocklist", "add", HV2, "3600")
    assert not rig.writes(lost)
    rig.ceph.command("osd", "blocklist", "rm", HV2)
    assert rig.writes(lost)


def test_who_was_fenced_cannot_come_back_though_its_entries_are_gone(rig: CephFencingRig) -> None:
    """The other layer: its key."""
    volume = rig.volume("a")
    source = rig.driver_of("hv2").attach(rig.pool, volume, vm_uuid="", read_only=False, deadline_s=DEADLINE_S)
    words = (source.user, source.key_file, source.pool, source.image, "watching")
    assert rig.writes(rig.client(HV2, *words))
    assert isinstance(_fence(rig, volume), Proof)
    rig.ceph.command("osd", "blocklist", "clear")
    with pytest.raises(Permanent, match="not let in"):
        rig.client(HV2, *words)


def test_a_new_client_with_all_that_is_on_the_nodes_disk_writes_nothing(rig: CephFencingRig, tmp_path: Path) -> None:
    """Ceph's administrator's key is on many a node's disk: its address keeps it out, on that node only."""
    volume = rig.volume("a")
    assert isinstance(_fence(rig, volume), Proof)
    key = tmp_path / "admin.key"
    key.write_text(rig.ceph.command("auth", "get-key", "client.admin"))
    words = ("admin", str(key), "vms", volume.name)
    assert not rig.writes(rig.client(HV2, *words, "reading"))
    assert rig.writes(rig.client("10.2.0.11", *words, "reading"))


def test_its_next_life_is_let_in_and_the_last_one_stays_out(rig: CephFencingRig) -> None:
    volume, other = rig.volume("a"), rig.volume("b")
    lost = rig.connect(volume, "hv2")
    assert rig.writes(lost) and isinstance(_fence(rig, volume, [lost.address]), Proof)
    old_users = rig.ceph.command("auth", "ls")
    assert "pvc.hv2.boot-1" not in old_users and "pvc-manager.hv2.boot-1" not in old_users
    assert rig.writes(rig.connect(other, "hv2", incarnation="boot-2"))
    assert not rig.writes(lost), "its own entry stands"
    listed = rig.ceph.command("osd", "blocklist", "ls")
    assert f"{HV2}:0/0" not in listed and lost.address in listed


def test_a_life_that_was_shut_out_before_it_had_a_key_gets_none(rig: CephFencingRig) -> None:
    volume = rig.volume("a")
    assert isinstance(_fence(rig, volume), Proof)
    with pytest.raises(Retry, match="shut out"):
        rig.driver_of("hv2").ensure_pool(rig.pool, deadline_s=DEADLINE_S)


def test_a_revoked_key_is_not_made_again(rig: CephFencingRig) -> None:
    volume = rig.volume("a")
    rig.connect(volume, "hv2")
    rig.ceph.command("auth", "rm", "client.pvc.hv2.boot-1")
    with pytest.raises(Retry, match="revoked"):
        rig.driver_of("hv2").attach(rig.pool, volume, vm_uuid="", read_only=False, deadline_s=DEADLINE_S)


def test_another_ceph_is_not_taken_for_the_right_one(rig: CephFencingRig) -> None:
    rig.state.put(FSID, b"00000000-0000-0000-0000-000000000000", if_version=None)
    with pytest.raises(Permanent, match="another Ceph"):
        rig.driver_of("hv2", "boot-3").ensure_pool(rig.pool, deadline_s=DEADLINE_S)


def _fence(rig: CephFencingRig, volume: Volume, noted: Sequence[str] = ()) -> FenceAnswer:
    target = Target(node="hv2", uuid="", incarnation="boot-1", addresses={"storage": HV2})
    others = {"hv1": [rig.storage_ips["hv1"]]}
    fence = WriteFence(target=target, pool=rig.pool, volumes=[volume], noted=noted, others=others)
    return rig.driver().fence_node(fence, deadline_s=DEADLINE_S)
