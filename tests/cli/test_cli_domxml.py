"""Changes of a definition made in the client: only what was meant changes, the rest stays as it was written."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvc_cli.domxml.disks import free_device, with_disk, without_disk
from pvc_cli.domxml.nics import bridge_nic, checked_mac, macvtap_nic, with_nic, without_nic
from pvc_cli.domxml.size import Topology, memory_mib, with_memory, with_vcpus
from pvc_cli.domxml.tree import parse
from pvc_cli.errors import CliError, NotThere

XML: str = json.loads((Path(__file__).parent / "samples.json").read_text())["GET /vm/vm00001"]["body"][0]["xml"].strip()
MAC = "52:54:00:aa:bb:cc"


def changed(old: str, new: str) -> list[str]:
    """The lines that came (+) and went (-)."""
    lines = difflib.ndiff(old.splitlines(), new.splitlines())
    return [f"{line[0]}{line[2:].strip()}" for line in lines if line[0] in "+-"]


def test_vcpus() -> None:
    assert changed(XML, with_vcpus(XML, 8, None)) == [
        "-<vcpu>2</vcpu>", "+<vcpu>8</vcpu>",
        '-<topology sockets="1" cores="2" threads="1"/>', '+<topology sockets="1" cores="8" threads="1"/>',
    ]  # fmt: skip
    assert 'sockets="2" cores="2" threads="2"' in with_vcpus(XML, 8, Topology.parsed("2,2,2"))
    with pytest.raises(CliError, match="make 4 CPUs, not 8"):
        with_vcpus(XML, 8, Topology.parsed("1,2,2"))
    for bad in ("2", "1,2", "a,b,c", "0,1,1", "1,1,-1"):
        with pytest.raises(CliError, match="no CPU topology"):
            Topology.parsed(bad)


def test_vcpus_where_there_was_no_topology() -> None:
    bare = "<domain><vcpu placement='static'>1</vcpu><devices/></domain>"
    new = with_vcpus(bare, 2, None)
    assert '<cpu><topology sockets="1" cores="2" threads="1"/></cpu>' in new
    assert 'placement="static"' in new


def test_memory() -> None:
    assert changed(XML, with_memory(XML, 4096)) == [
        '-<memory unit="MiB">2048</memory>',
        '+<memory unit="MiB">4096</memory>',
    ]
    old = "<domain><memory unit='KiB'>2097152</memory><currentMemory unit='KiB'>1048576</currentMemory></domain>"
    assert memory_mib(old) == 2048
    new = with_memory(old, 512)
    assert memory_mib(new) == 512
    assert '<currentMemory unit="MiB">512</currentMemory>' in new, "else the guest would stay at its old size"


def test_add_and_remove_a_nic() -> None:
    new, device = with_nic(XML, bridge_nic("77", MAC, "virtio"))
    assert changed(XML, new) == [
        '+<interface type="bridge">', f'+<mac address="{MAC}"/>', '+<source bridge="vmbr77"/>',
        '+<model type="virtio"/>', "+</interface>",
    ]  # fmt: skip
    assert parse(new).findall("devices/interface")[-1].find("mac").get("address") == MAC
    assert device.startswith("<interface") and device.endswith("</interface>")
    assert without_nic(new, "77", None)[0] == XML, "taking it out again leaves what was there"
    assert without_nic(new, None, MAC.upper())[0] == XML


@pytest.mark.parametrize(
    ("network", "bridge"), [("1200", "vmbr1200"), ("upstream", "brupstream"), ("storage", "brstorage")]
)
def test_bridges(network: str, bridge: str) -> None:
    assert bridge_nic(network, MAC, "e1000").find("source").get("bridge") == bridge


def test_nics_that_cannot_be() -> None:
    for network in ("0", "16777216", "lab", "-1", "vmbr7", ""):
        with pytest.raises(CliError, match="is no network"):
            bridge_nic(network, MAC, "virtio")
    with pytest.raises(CliError, match="already has a network card"):
        with_nic(XML, bridge_nic("77", "52:54:00:00:01:00", "virtio"))
    with pytest.raises(NotThere, match="on 77"):
        without_nic(XML, "77", None)
    twice, _ = with_nic(XML, bridge_nic("1001", MAC, "virtio"))
    with pytest.raises(CliError, match="has 2 network cards") as error:
        without_nic(twice, "1001", None)
    assert MAC in error.value.help
    assert without_nic(twice, "1001", MAC)[0] == XML


def test_macs() -> None:
    made = {checked_mac(None) for _ in range(50)}
    assert len(made) > 40
    assert all(mac.startswith("52:54:00:") for mac in made)
    for bad in ("52:54:00:aa:bb", "5254.00aa.bbcc", "zz:54:00:aa:bb:cc", "01:00:5e:00:00:01"):
        with pytest.raises(CliError):
            checked_mac(bad)


def test_macvtap() -> None:
    new, _ = with_nic(XML, macvtap_nic("ens1f0v3", MAC, "virtio"))
    assert '<source dev="ens1f0v3" mode="passthrough"/>' in new
    assert without_nic(new, "ens1f0v3", None, sriov=True)[0] == XML


def test_a_new_disk_takes_monitors_and_secret_from_one_that_is_there() -> None:
    new, device = with_disk(XML, "vms/data", kind="rbd", bus="scsi", device=None)
    disk = parse(new).findall("devices/disk")[-1]
    assert disk.find("source").get("name") == "vms/data"
    assert [host.get("name") for host in disk.findall("source/host")] == ["10.2.0.11", "10.2.0.12"]
    assert disk.find("auth/secret") is not None
    assert (disk.find("target").get("dev"), disk.find("target").get("bus")) == ("sdb", "scsi")
    assert "vms/data" in device
    assert not [line for line in changed(XML, new) if line.startswith("-")]
    assert without_disk(new, "vms/data")[0] == XML
    assert without_disk(new, "sdb")[0] == XML


def test_the_first_disk_and_nic_come_before_the_emulator() -> None:
    bare = "<domain>\n  <devices>\n    <emulator>/usr/bin/kvm</emulator>\n  </devices>\n</domain>"
    new, _ = with_disk(bare, "vms/root", kind="rbd", bus="virtio", device=None)
    assert parse(new).find("devices")[0].tag == "disk"
    assert 'dev="vda"' in new
    assert without_disk(new, "vda")[0] == bare
    new, _ = with_nic(bare, bridge_nic("7", MAC, "virtio"))
    assert without_nic(new, "7", None)[0] == bare


def test_file_disks() -> None:
    new, _ = with_disk(XML, "/srv/x.iso", kind="file", bus="ide", device="hdc")
    assert '<source file="/srv/x.iso"/>' in new
    assert '<target dev="hdc" bus="ide"/>' in new


def test_disks_that_cannot_be() -> None:
    for volume in ("data", "a/b/c", "/b", "a/"):
        with pytest.raises(CliError, match="no volume"):
            with_disk(XML, volume, kind="rbd", bus="scsi", device=None)
    with pytest.raises(CliError, match="no absolute path"):
        with_disk(XML, "x.iso", kind="file", bus="ide", device=None)
    with pytest.raises(CliError, match="already has the volume"):
        with_disk(XML, "vms/vm00001_sda", kind="rbd", bus="scsi", device=None)
    with pytest.raises(CliError, match="already has a disk sda"):
        with_disk(XML, "vms/x", kind="rbd", bus="scsi", device="sda")
    with pytest.raises(NotThere):
        without_disk(XML, "vms/other")


@given(st.integers(min_value=0, max_value=701))
def test_free_names_go_on_after_z(count: int) -> None:
    used: set[str] = set()
    for _ in range(count % 60):
        used.add(free_device("sd", used))
    assert len(used) == count % 60
    assert free_device("sd", used) not in used


@pytest.mark.parametrize(
    "xml", ["", "<domain>", "<network/>", '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><domain>&a;<x']
)
def test_what_is_no_definition(xml: str) -> None:
    with pytest.raises(CliError, match="definition is"):
        with_memory(xml, 1)


def test_entities_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("treasure")
    xml = (
        f'<!DOCTYPE domain [<!ENTITY a SYSTEM "file://{secret}">]><domain><memory>1</memory><title>&a;</title></domain>'
    )
    assert "treasure" not in with_memory(xml, 1)
