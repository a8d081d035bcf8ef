"""A guest with an operating system (Debian's kernel, busybox): what needs its co-operation, on virtio devices."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

import pytest

from lab import LabError
from lab.guest_image import guest_image
from lab.state import CACHE
from pvc_core.contracts.compute import GuestEvent, RenderRequest
from pvc_core.contracts.targets import Bridge, File
from pvc_core.errors import Retry
from pvc_core.ids import new_uuid
from pvc_core.model.vm import GuestState

from .libvirt_node import LibvirtNode
from .libvirt_rig import DISK, NIC, SPARE_MAC, LibvirtRig

pytestmark = pytest.mark.system


@pytest.fixture
def rig(libvirt_node: LibvirtNode) -> Iterator[LibvirtRig]:
    rig = LibvirtRig(libvirt_node)
    yield rig
    rig.close()


@pytest.fixture
def guest(rig: LibvirtRig) -> Iterator[RenderRequest]:
    """Booted so far that its ticker counts."""
    try:
        built = guest_image(CACHE, "tick")
    except LabError as error:
        pytest.skip(f"the guest's image cannot be built: {error}")
    image = rig.node.root / "images" / "whole.img"
    shutil.copyfile(built, image)
    uuid = new_uuid()
    rig.permit(uuid)
    text = rig.definition("whole", uuid, volume="vms/whole", network="100")
    text = text.replace(">32</memory>", ">192</memory>")
    nics = {spec.mac: Bridge(bridge="vmbr100") for spec in rig.definitions.describe(text).nics}
    disks = {"vda": File(path=str(image))}
    request = RenderRequest(definition=text, uuid=uuid, name="whole", disks=disks, nics=nics)
    driver = rig.driver()
    driver.start(request, deadline_s=20.0)
    _until(lambda: "tick" in driver.console_log(uuid, 50), "the guest has booted")
    yield request
    driver.stop(uuid, deadline_s=20.0)


def test_it_switches_itself_off_when_asked(rig: LibvirtRig, guest: RenderRequest) -> None:
    driver = rig.driver()
    heard: list[GuestEvent] = []
    driver.events(lambda uuid, event: heard.append(event) if uuid == guest.uuid else None)
    driver.observe(guest.uuid, deadline_s=5.0)
    driver.request_shutdown(guest.uuid, deadline_s=5.0)
    _until(lambda: driver.observe(guest.uuid, deadline_s=5.0).guest is GuestState.OFF, "it is off")
    assert driver.observe(guest.uuid, deadline_s=5.0).reason == "shutdown" and GuestEvent.STOPPED in heard


def test_virtio_disks_and_nics_come_and_go(rig: LibvirtRig, guest: RenderRequest) -> None:
    driver = rig.driver()
    spare = rig.spare_disk()
    disk = DISK.format(volume="vms/spare", dev="vdb", bus="virtio").strip()
    nic = NIC.format(mac=f'<mac address="{SPARE_MAC}"/>', network="100", model="virtio").strip()
    for _again in range(2):
        driver.attach_disk(guest.uuid, disk, spare.source, deadline_s=10.0)
        driver.attach_nic(guest.uuid, nic, Bridge(bridge="vmbr100"), deadline_s=10.0)
    (found,) = [item for item in driver.stats(deadline_s=5.0) if item.uuid == guest.uuid]
    assert set(found.disks) == {"vda", "vdb"} and SPARE_MAC in found.nics and found.disks["vda"]["rd_bytes"] > 0
    driver.resize_disk(guest.uuid, "vdb", 2 * spare.size_bytes, deadline_s=10.0)
    _until(lambda: _done(lambda: driver.detach_disk(guest.uuid, "vdb", deadline_s=5.0)), "the disk is let go")
    _until(lambda: _done(lambda: driver.detach_nic(guest.uuid, SPARE_MAC, deadline_s=5.0)), "the NIC is let go")
    (found,) = [item for item in driver.stats(deadline_s=5.0) if item.uuid == guest.uuid]
    assert set(found.disks) == {"vda"} and SPARE_MAC not in found.nics


def test_nics_of_each_model_come_with_what_their_definition_asks(rig: LibvirtRig, guest: RenderRequest) -> None:
    driver, queues = rig.driver(), '<driver name="qemu" queues="2"/>'
    for number, (model, more) in enumerate((("virtio", queues), ("e1000e", ""), ("rtl8139", ""))):
        mac = f"{SPARE_MAC[:-1]}{number}"
        nic = NIC.format(mac=f'<mac address="{mac}"/>', network="100", model=model).strip()
        target = Bridge(bridge="vmbr100", device=f"tapspare{number}", mtu=1400)
        driver.attach_nic(guest.uuid, nic.replace("</interface>", f"{more}</interface>"), target, deadline_s=20.0)
        live = ElementTree.fromstring(rig.node.virsh("dumpxml", guest.uuid).stdout)
        (found,) = [one for one in live.iter("interface") if mac in ElementTree.tostring(one, "unicode")]
        shown = {one.tag: one.attrib for one in found}
        assert (shown["model"]["type"], shown["target"]["dev"]) == (model, target.device)
        assert shown["mtu"]["size"] == "1400" and shown.get("driver", {}).get("queues") == ("2" if more else None)


def _done(call: Callable[[], None]) -> bool:
    try:
        call()
    except Retry:
        return False
    return True


def _until(is_so: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    end_s = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end_s, f"waited {seconds:g} s until {what}"
        time.sleep(0.1)
