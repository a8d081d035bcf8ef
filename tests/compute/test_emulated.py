"""What an emulated guest writes while it is copied arrives: its memory is of a size whose writes QEMU notes rightly
(emulated.py), and a copy that was called off spoils nothing of the next one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from pvc_compute_libvirt import emulated
from pvc_core.contracts.compute import RenderRequest
from pvc_core.ids import new_uuid
from pvc_core.model.vm import GuestState

from . import checking
from .libvirt_rig import LibvirtRig

QEMU = emulated.QEMU_NAMESPACE
PLAIN = (
    '<domain type="qemu"><name>a</name><memory unit="KiB">{}</memory><os><type machine="{}">hvm</type></os>{}</domain>'
)
NOTED_KIB = 256
"""QEMU takes the note of 64 pages at once where a size is a multiple of them."""
OLD = 7_002_022


def _words(xml: str) -> list[str]:
    found = ElementTree.fromstring(xml).findall(f"{{{QEMU}}}commandline/{{{QEMU}}}arg")
    return [str(argument.get("value")) for argument in found]


@pytest.mark.parametrize("machine", ["pc", "q35", "pc-q35-7.2", "pc-i440fx-7.2"])
@pytest.mark.parametrize("kib", [1, 1024, 1025, 163840])
def test_memory_is_what_libvirt_makes_of_it_and_two_pages_more(machine: str, kib: int) -> None:
    words = _words(emulated.with_noted_memory(PLAIN.format(kib, machine, ""), virt_type="qemu", qemu=OLD))
    size_kib = int(words[1].removeprefix("size=").removesuffix("k"))
    assert size_kib == max(1, (kib + 1023) // 1024) * 1024 + 8 and size_kib % NOTED_KIB
    assert words[3].endswith(f"size={size_kib * 1024}") and words[5] == "memory-backend=pvc.ram"


@pytest.mark.parametrize(
    ("virt_type", "qemu", "machine", "more"),
    [
        ("kvm", OLD, "q35", ""),
        ("qemu", 9_000_000, "q35", ""),
        ("qemu", OLD, "microvm", ""),
        ("qemu", OLD, "q35", "<memoryBacking><hugepages/></memoryBacking>"),
        ("qemu", OLD, "q35", "<cpu><numa><cell/></numa></cpu>"),
        ("qemu", OLD, "q35", "<maxMemory>4096</maxMemory>"),
        ("qemu", OLD, "q35", f'<x:commandline xmlns:x="{QEMU}"><x:arg value="-s"/></x:commandline>'),
    ],
)
def test_nothing_changes_where_nothing_is_lost_or_the_user_says_how(
    virt_type: str, qemu: int, machine: str, more: str
) -> None:
    xml = PLAIN.format(163840, machine, more)
    assert emulated.with_noted_memory(xml, virt_type=virt_type, qemu=qemu) == xml


@pytest.fixture
def guest(here: LibvirtRig, there: LibvirtRig) -> Iterator[RenderRequest]:
    uuid = new_uuid()
    here.permit(uuid)
    name = f"guest-{uuid[:8]}"
    checking.write_image(here.node.root / "images" / f"{name}.img")
    request = here.request(name, uuid)
    here.driver().start(request, deadline_s=20.0)
    _until(lambda: _said(here, uuid, checking.LIVES) > 1, "it has checked its memory")
    yield request
    for rig in (here, there):
        rig.revoke(uuid)
        rig.driver().stop(uuid, deadline_s=20.0)


@pytest.mark.system
@pytest.mark.slow
def test_all_of_its_memory_arrives_also_after_a_copy_that_was_called_off(
    here: LibvirtRig, there: LibvirtRig, guest: RenderRequest
) -> None:
    source, target = here.driver(), there.driver()
    _copy(here, there, guest)
    source.abort_migration(guest.uuid, deadline_s=5.0)
    _until(lambda: not source.migration(guest.uuid, deadline_s=5.0).running, "it is called off")
    _until(lambda: target.observe(guest.uuid, deadline_s=5.0).guest is GuestState.OFF, "no copy is left")
    _copy(here, there, guest)
    assert here.node.virsh("migrate-setspeed", guest.uuid, "--bandwidth", "1000").returncode == 0
    _until(lambda: source.observe(guest.uuid, deadline_s=5.0).guest is GuestState.OFF, "it has left")
    target.resume(guest.uuid, deadline_s=5.0)
    _until(lambda: _said(there, guest.uuid, checking.LIVES) > 1, "it goes on there")
    assert (_said(here, guest.uuid, checking.LOST), _said(there, guest.uuid, checking.LOST)) == (0, 0)


@pytest.mark.system
def test_qemu_has_the_size_that_is_noted_rightly(here: LibvirtRig, guest: RenderRequest) -> None:
    answer = here.node.virsh("qemu-monitor-command", guest.uuid, '{"execute": "query-memory-size-summary"}')
    assert json.loads(answer.stdout)["return"]["base-memory"] == (32 * 1024 + emulated.MORE_KIB) * 1024


def _copy(here: LibvirtRig, there: LibvirtRig, guest: RenderRequest) -> None:
    """So slowly that it does not end, until QEMU has asked several times what was written meanwhile."""
    assert here.node.virsh("migrate-setspeed", guest.uuid, "--bandwidth", "1").returncode == 0
    there.permit_incoming(guest.uuid)
    driver = here.driver()
    departing = driver.departing(guest, deadline_s=5.0)
    ticket = there.driver().prepare_incoming(replace(guest, definition=departing), deadline_s=10.0)
    driver.migrate(guest.uuid, ticket, max_downtime_ms=10, deadline_s=5.0)
    _until(lambda: (now := driver.migration(guest.uuid, deadline_s=5.0)).passes >= 5 or not now.running, "it is copied")
    assert driver.migration(guest.uuid, deadline_s=5.0).running, (
        "it ended: QEMU has noted too little of what is written"
    )


def _said(rig: LibvirtRig, uuid: str, word: bytes) -> int:
    log = rig.node.root / "console" / f"{uuid}.log"
    return log.read_bytes().count(word) if log.exists() else 0


def _until(is_so: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    end_s = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end_s, f"waited {seconds:g} s until {what}"
        time.sleep(0.05)
