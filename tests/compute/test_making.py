"""Devices written for a definition, put in and taken out again: only what was meant changes."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvc_compute_libvirt.definitions import LibvirtDefinitions
from pvc_core.errors import Exists, Invalid, NotFound

SAMPLES = Path(__file__).parents[1] / "cli" / "samples.json"
XML: str = json.loads(SAMPLES.read_text())["GET /vm/vm00001"]["body"][0]["xml"].strip()
MAC = "52:54:00:aa:bb:cc"
BARE = """<domain>
  <name>a</name>
  <memory>65536</memory>
  <devices>
    <emulator>/usr/bin/kvm</emulator>
  </devices>
</domain>"""
libvirt = LibvirtDefinitions()


def changed(old: str, new: str) -> list[str]:
    """The lines that came (+) and went (-)."""
    lines = difflib.ndiff(old.splitlines(), new.splitlines())
    return [f"{line[0]}{line[2:].strip()}" for line in lines if line[0] in "+-"]


def test_a_topology() -> None:
    assert changed(XML, libvirt.with_topology(XML, sockets=1, cores=8, threads=1)) == [
        "-<vcpu>2</vcpu>", "+<vcpu>8</vcpu>",
        '-<topology sockets="1" cores="2" threads="1"/>', '+<topology sockets="1" cores="8" threads="1"/>',
    ]  # fmt: skip
    for bare in (
        "<domain><vcpu placement='static'>1</vcpu><devices/></domain>",
        "<domain><vcpu placement='static'>1</vcpu><cpu mode='host-model'/><devices/></domain>",
        "<domain><memory>1</memory><cpu><topology sockets='3' dies='2' cores='1' threads='1'/></cpu></domain>",
    ):
        new = libvirt.with_topology(bare, sockets=1, cores=2, threads=2)
        shape = '<topology sockets="1" cores="2" threads="2"/>'
        assert ">4</vcpu>" in new and shape in new.replace("'", '"') and "dies" not in new
    for wrong in ((0, 1, 1), (1, 1, -1), (999, 999, 999)):
        with pytest.raises(Invalid):
            libvirt.with_topology(XML, **dict(zip(("sockets", "cores", "threads"), wrong, strict=True)))


@pytest.mark.parametrize(
    ("network", "bridge"), [("1200", "vmbr1200"), ("upstream", "brupstream"), ("storage", "brstorage")]
)
@pytest.mark.parametrize("xml", [XML, BARE], ids=["sample", "bare"])
def test_a_nic_on_a_network(xml: str, network: str, bridge: str) -> None:
    nic = libvirt.new_nic(mac=MAC, model="e1000", network=network)
    new = libvirt.with_device(xml, nic)
    assert changed(xml, new) == [
        '+<interface type="bridge">', f'+<mac address="{MAC}"/>', f'+<source bridge="{bridge}"/>',
        '+<model type="e1000"/>', "+</interface>",
    ]  # fmt: skip
    assert libvirt.describe_device(nic).network == network  # type: ignore[union-attr]  # it is a NIC
    assert libvirt.device(new, MAC.upper()) == nic
    assert libvirt.without_device(new, libvirt.device(new, MAC)) == xml, "taking it out leaves what was there"


def test_nics_on_a_function() -> None:
    new = libvirt.with_device(XML, libvirt.new_nic(mac=MAC, model="virtio", function="ens1f0v3"))
    assert '<source dev="ens1f0v3" mode="passthrough"/>' in new
    pci = {"domain": "0000", "bus": "65", "slot": "10", "function": "0"}
    new = libvirt.with_device(XML, libvirt.new_nic(mac=MAC, model="virtio", function="ens1f0v3", pci=pci))
    assert 'bus="0x65" slot="0x10"' in new and "<sriov_device>ens1f0v3</sriov_device>" in new
    assert libvirt.describe(new).nics[-1].source == "ens1f0v3" and libvirt.describe(new).reaches


@pytest.mark.parametrize("network", ["0", "lab", "-1", "vmbr7", "1 2", "'"])
def test_what_is_no_network(network: str) -> None:
    with pytest.raises(Invalid, match="no network"):
        libvirt.new_nic(mac=MAC, model="virtio", network=network)


def test_a_nic_without_a_mac_is_found_by_the_one_it_has() -> None:
    text = BARE.replace("<emulator>", '<interface type="bridge"><source bridge="vmbr7"/></interface><emulator>')
    mac = libvirt.describe(text).nics[0].mac
    assert mac in libvirt.device(text, mac) and "interface" not in libvirt.without_device(
        text, libvirt.device(text, mac)
    )


def test_a_new_disk_takes_monitors_and_secret_from_one_that_is_there() -> None:
    disk = libvirt.new_disk(XML, "vms/data")
    assert 'name="vms/data"' in disk and "10.2.0.11" in disk and "10.2.0.12" in disk and "<secret" in disk
    new = libvirt.with_device(XML, disk)
    assert not [line for line in changed(XML, new) if line.startswith("-")]
    found = libvirt.describe(new).disks[-1]
    assert (found.volume, found.dev, found.bus) == ("vms/data", "sdb", "scsi")
    for name in ("vms/data", "sdb"):
        assert libvirt.without_device(new, libvirt.device(new, name)) == XML


def test_the_first_disk_comes_before_the_emulator() -> None:
    new = libvirt.with_device(BARE, libvirt.new_disk(BARE, "vms/root", bus="virtio"))
    assert new.index("<disk") < new.index("<emulator>") and 'dev="vda"' in new
    assert libvirt.without_device(new, libvirt.device(new, "vda")) == BARE


def test_file_disks() -> None:
    disk = libvirt.new_disk(XML, '/srv/a"<b>.iso', bus="ide", dev="hdc")
    new = libvirt.with_device(XML, disk)
    assert libvirt.describe(new).disks[-1].path == '/srv/a"<b>.iso' and libvirt.describe(new).reaches
    assert '<target dev="hdc" bus="ide"/>' in new


def test_disks_that_cannot_be() -> None:
    for volume in ("data", "a/b/c", "a/", "a/b'"):
        with pytest.raises(Invalid):
            libvirt.new_disk(XML, volume)
    with pytest.raises(Exists, match="has a disk on"):
        libvirt.new_disk(XML, "vms/vm00001_sda")
    with pytest.raises(Exists, match="has a disk sda"):
        libvirt.new_disk(XML, "vms/x", dev="sda")
    with pytest.raises(Invalid, match="no bus"):
        libvirt.new_disk(XML, "vms/x", bus="floppy")
    with pytest.raises(NotFound):
        libvirt.device(XML, "vms/other")


@given(st.integers(min_value=0, max_value=60))
def test_free_names_go_on_after_z(count: int) -> None:
    text = BARE
    for number in range(count):
        text = libvirt.with_device(text, libvirt.new_disk(text, f"vms/v{number}"))
    devices = [disk.dev for disk in libvirt.describe(text).disks]
    assert len(set(devices)) == count and (count < 27 or "sdaa" in devices)


def test_a_new_disk_takes_monitors_from_another_and_nothing_of_its_own() -> None:
    own = (
        '<encryption format="luks"><secret type="passphrase" uuid="u"/></encryption><slices><slice size="1"/></slices>'
    )
    old = XML.replace("</source>", f"{own}</source>", 1)
    assert own in old
    new = libvirt.new_disk(old, "vms/new", bus="scsi", dev="")
    assert "<host " in new and "encryption" not in new and "slice" not in new


@pytest.mark.parametrize("number", ["\u00b2", "1" * 5000, "-1", "0", ""])
def test_a_topology_of_no_numbers_is_refused_in_words(number: str) -> None:
    bare = f"<domain><memory>1</memory><vcpu>2</vcpu><cpu><topology sockets='{number}' cores='1'/></cpu></domain>"
    with pytest.raises(Invalid, match="not made of numbers"):
        libvirt.with_vcpus(bare, 4)
