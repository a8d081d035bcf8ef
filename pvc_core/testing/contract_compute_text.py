# SPDX-License-Identifier: LGPL-3.0-or-later
"""The questions of the compute conformance suite about definitions, pure functions on text; see contract_compute.py."""

from __future__ import annotations

import time

import pytest

from pvc_core.contracts.compute import RenderRequest
from pvc_core.errors import Exists, Invalid, NotFound, Refused
from pvc_core.ids import new_uuid
from pvc_core.model.vm import DiskSpec, NicSpec
from pvc_core.testing.compute_rig import ComputeRig, SpareDisk, SpareNic
from pvc_core.units import MIB

about = pytest.mark.pvc_capability
HOSTILE_TEXTS = {
    "empty": "",
    "no markup": "hello",
    "cut off": "<domain><name>a",
    "another document": "<network/>",
    "nothing in it": "<domain/>",
    "ten megabytes": "<domain><name>a</name>" + "<a/>" * 2_500_000 + "</domain>",
    "very deep": "<a>" * 100_000,
    "entities": '<!DOCTYPE d [<!ENTITY a "aaaa">]><domain><name>&a;</name></domain>',
    "a file": '<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/shadow">]><domain><name>&a;</name></domain>',
    "no text": "\ud800",
}


class TextQuestions:
    """Mixed into ComputeContract."""

    @about("core")
    def test_a_definition_is_described(self, rig: ComputeRig) -> None:
        uuid = new_uuid()
        text = rig.definition("web1", uuid, volume="vms/web1", network="100")
        found = rig.definitions.describe(text)
        assert (found.name, found.uuid) == ("web1", uuid) and found.memory_bytes >= MIB and found.vcpus >= 1
        assert found.volumes == ("vms/web1",) and [nic.network for nic in found.nics] == ["100"]
        assert all(nic.mac for nic in found.nics) and rig.definitions.describe(text) == found

    @about("core")
    @pytest.mark.parametrize("kind", HOSTILE_TEXTS)
    def test_a_hostile_text_is_refused_quickly(self, rig: ComputeRig, kind: str) -> None:
        begun_s = time.process_time()  # its own work, however busy the machine
        with pytest.raises(Invalid) as failure:
            rig.definitions.describe(HOSTILE_TEXTS[kind])
        assert failure.value.message and time.process_time() - begun_s < 1.0

    @about("core")
    def test_name_and_uuid_are_replaced_and_nothing_else(self, rig: ComputeRig) -> None:
        old, new = new_uuid(), new_uuid()
        text = rig.definition("web1", old, volume="vms/disk-a", network="100")
        changed = rig.definitions.with_identity(text, name="db7", uuid=new)
        found = rig.definitions.describe(changed)
        assert (found.name, found.uuid) == ("db7", new)
        assert rig.definitions.with_identity(changed, name="web1", uuid=old) == text

    @about("core")
    def test_a_volume_is_renamed_and_nothing_else(self, rig: ComputeRig) -> None:
        text = rig.definition("web1", new_uuid(), volume="vms/a")
        changed = rig.definitions.with_volume_renamed(text, old="vms/a", new="fast/b")
        assert rig.definitions.describe(changed).volumes == ("fast/b",)
        assert rig.definitions.with_volume_renamed(changed, old="fast/b", new="vms/a") == text
        assert rig.definitions.with_volume_renamed(text, old="vms/nosuch", new="vms/b") == text

    @about("core")
    def test_cpus_and_memory_are_set(self, rig: ComputeRig) -> None:
        text = rig.definition("web1", new_uuid())
        found = rig.definitions.describe(rig.definitions.with_memory(rig.definitions.with_vcpus(text, 3), 512 * MIB))
        assert (found.vcpus, found.memory_bytes) == (3, 512 * MIB)

    @about("core")
    def test_devices_come_and_go_in_the_text(self, rig: ComputeRig) -> None:
        text = rig.definition("web1", new_uuid(), volume="vms/a", network="100")
        for spare in (rig.spare_disk(), rig.spare_nic()):
            if spare is None:
                continue
            added = rig.definitions.with_device(text, spare.device)
            assert _name(spare) in _devices(rig, added)
            with pytest.raises(Exists):
                rig.definitions.with_device(added, spare.device)
            removed = rig.definitions.without_device(added, spare.device)
            assert rig.definitions.describe(removed) == rig.definitions.describe(text)
            with pytest.raises(NotFound):
                rig.definitions.without_device(removed, spare.device)
            described = rig.definitions.describe_device(spare.device)
            assert isinstance(described, DiskSpec if isinstance(spare, SpareDisk) else NicSpec)

    @about("writes_devices")
    def test_devices_are_written_and_found(self, rig: ComputeRig) -> None:
        know, text = rig.definitions, rig.definition("web1", new_uuid(), volume="vms/a", network="100")
        if not know.capabilities.writes_devices:
            with pytest.raises(Refused):
                know.new_disk(text, "vms/b")
            pytest.skip("capability writes_devices is declared false")
        assert know.describe(know.with_topology(text, sockets=1, cores=2, threads=2)).vcpus == 4
        disk, mac = know.new_disk(text, "vms/b"), "52:54:00:fe:dc:ba"
        nic = know.new_nic(mac=mac, model="virtio", network="200")
        both = know.with_device(know.with_device(text, disk), nic)
        assert know.describe(both).volumes == ("vms/a", "vms/b")
        assert [one.network for one in know.describe(both).nics] == ["100", "200"]
        for taken in ("vms/a", "vms/b"):
            with pytest.raises(Exists):
                know.new_disk(both, taken)
        without = know.without_device(know.without_device(both, know.device(both, "vms/b")), know.device(both, mac))
        assert know.describe(without) == know.describe(text)
        with pytest.raises(NotFound):
            know.device(text, "vms/b")

    @about("core")
    def test_differences_are_lines(self, rig: ComputeRig) -> None:
        text = rig.definition("web1", new_uuid())
        changed = rig.definitions.with_vcpus(text, 7)
        assert rig.definitions.diff(text, text) == []
        lines = rig.definitions.diff(text, changed)
        assert any(line.startswith("+") for line in lines) and any(line.startswith("-") for line in lines)
        assert not any(line.startswith(("---", "+++")) for line in lines)

    @about("core")
    def test_nothing_is_rendered_that_nobody_placed(self, rig: ComputeRig) -> None:
        uuid = new_uuid()
        for asked in ({"volume": "vms/a"}, {"network": "100"}):
            text = rig.definition("web1", uuid, **asked)
            with pytest.raises(Invalid):
                rig.definitions.render(RenderRequest(definition=text, uuid=uuid, name="web1"))

    @about("core")
    def test_what_is_rendered_carries_name_and_uuid_of_the_request(self, rig: ComputeRig) -> None:
        uuid = new_uuid()
        text = rig.definition("old", new_uuid())
        assert uuid in rig.definitions.render(RenderRequest(definition=text, uuid=uuid, name="new"))


def _devices(rig: ComputeRig, text: str) -> set[str]:
    found = rig.definitions.describe(text)
    return {disk.dev for disk in found.disks} | {nic.mac for nic in found.nics}


def _name(spare: SpareDisk | SpareNic) -> str:
    return spare.dev if isinstance(spare, SpareDisk) else spare.mac
