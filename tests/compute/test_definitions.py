"""compute_libvirt's pure half: what is ours is set, and everything else reaches libvirt as the user gave it."""

from __future__ import annotations

import random
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvc_cli import example
from pvc_compute_libvirt.definitions import LibvirtDefinitions
from pvc_compute_libvirt.devices import nic_for
from pvc_core.contracts.compute import RenderRequest
from pvc_core.contracts.targets import Block, Bridge, DiskSource, File, Hostdev, Iscsi, Macvtap, Nbd, Rbd, VhostUser
from pvc_core.errors import Invalid, NotFound

UUID = "2b57194c-777e-54d9-9dee-6a6bada3c400"
OTHER = "f3e00da4-f261-578d-b24f-c022e6ccbf8f"
MAC = "52:54:00:00:00:01"
QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
definitions = LibvirtDefinitions()


def domain(devices: str = "", *, more: str = "", name: str = "web1", uuid: str = f"<uuid>{UUID}</uuid>") -> str:
    return f"""<domain type="kvm" xmlns:qemu="{QEMU}"><name>{name}</name>{uuid}
  <memory unit="MiB">512</memory><vcpu>2</vcpu>{more}
  <os><type arch="x86_64" machine="pc">hvm</type></os>
  <devices><emulator>/usr/bin/kvm</emulator>{devices}</devices>
</domain>
"""


def test_the_example_of_the_command_line_can_be_filled() -> None:
    text = example.DEFINITION.format(uuid=UUID)
    found = definitions.describe(text)
    assert (found.name, found.uuid, found.memory_bytes, found.vcpus, found.disks, found.nics) == (
        "web1", UUID, 1 << 30, 1, (), (),
    )  # fmt: skip
    assert definitions.describe(definitions.with_device(text, volume())).volumes == ("vms/web1",)


def volume(name: str = "vms/web1", dev: str = "sda", more: str = "") -> str:
    source = f'<source protocol="rbd" name="{name}"><host name="mon1" port="6789"/></source>'
    auth = '<auth username="libvirt"><secret type="ceph" uuid="x"/></auth>'
    return f'<disk type="network" device="disk">{auth}{source}<target dev="{dev}" bus="scsi"/>{more}</disk>'


def nic(bridge: str = "vmbr100", mac: str = f'<mac address="{MAC}"/>', more: str = "") -> str:
    return f'<interface type="bridge">{mac}<source bridge="{bridge}"/><model type="virtio"/>{more}</interface>'


def render(text: str, **given_: object) -> Element:
    return ElementTree.fromstring(rendered(text, **given_))


def rendered(text: str, **given_: object) -> str:
    values = {"disks": {"sda": File(path="/v/a")}, "nics": {MAC: Bridge(bridge="vmbr100")}, "virt_type": "kvm"}
    return definitions.render(RenderRequest(definition=text, uuid=UUID, name="web1", **{**values, **given_}))


# --- the property: what is not ours stays


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Cn"]), max_size=8)
NAMES = st.sampled_from(
    ["title", "metadata", "cputune", "seclabel", "keywrap", "x-unknown", "iothreads", "pm", "qemu:arg"]
)
SPACES = st.sampled_from(["", " ", "\n    ", "<!-- <uuid> & co -->", "<?hint x?>"])


@st.composite
def elements(draw: st.DrawFn, depth: int = 2) -> str:
    """Any element of the user's, in any notation XML allows."""
    name = draw(NAMES)
    pairs = draw(st.dictionaries(st.sampled_from(["type", "name", "dev", "file", "a"]), WORDS, max_size=2))
    quote = draw(st.sampled_from([quoteattr, lambda value: "'" + escape(value, {"'": "&apos;"}) + "'"]))
    attributes = "".join(
        f"{draw(st.sampled_from([' ', chr(10)]))}{key} = {quote(value)}" for key, value in pairs.items()
    )
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from([f"<{name}{attributes}/>", f"<{name}{attributes} ></{name}>"]))
    inside = draw(SPACES) + escape(draw(WORDS)) + draw(elements(depth=depth - 1)) + draw(SPACES)
    return f"<{name}{attributes}>{inside}</{name}>"


@given(top=elements(), device=elements(), in_disk=elements(), in_nic=elements(), space=SPACES)
def test_what_is_not_ours_reaches_libvirt_as_given(
    top: str, device: str, in_disk: str, in_nic: str, space: str
) -> None:
    text = domain(space + volume(more=in_disk) + device + nic(more=in_nic) + '<serial type="pty"/>', more=top)
    out = rendered(text, console_log="/log", vnc_listen="10.0.0.1", virt_type="qemu")
    for piece in (top, device, in_disk, in_nic, space):
        assert piece in out
    assert _theirs(ElementTree.fromstring(out)) == _theirs(ElementTree.fromstring(text))


def _theirs(root: Element) -> bytes:
    """The document without all that render may set."""
    root.attrib.pop("type")
    for emulator in root.iter("emulator"):
        emulator.text = ""
    for element in root.findall("devices/disk") + root.findall("devices/interface") + root.findall("devices/serial"):
        element.attrib.pop("type")
        for child in list(element):
            if child.tag in ("source", "auth", "driver", "log"):
                element.remove(child)
    return ElementTree.canonicalize(ElementTree.tostring(root), strip_text=True).encode()


@given(top=elements(), device=elements())
def test_without_anything_of_ours_not_a_byte_changes(top: str, device: str) -> None:
    text = domain(device, more=top)
    assert rendered(text) == text


@given(elements(), elements())
def test_edits_change_their_place_only(top: str, device: str) -> None:
    text = domain(volume() + device + nic(), more=top)
    there = definitions.with_identity(text, name="a & b", uuid=OTHER)
    assert definitions.describe(there).name == "a & b"
    assert definitions.with_identity(there, name="web1", uuid=UUID) == text
    added = definitions.with_device(text, nic("vmbr7", '<mac address="52:54:00:00:00:09"/>'))
    assert definitions.without_device(added, nic("vmbr7", '<mac address="52:54:00:00:00:09"/>')) == text


@given(st.text(max_size=200), st.integers(0, 400))
def test_any_text_is_refused_or_described(rubbish: str, at: int) -> None:
    text = domain(volume() + nic())
    for hostile in (rubbish, text[:at] + rubbish + text[at:], text[:at] + text[at + 1 :]):
        try:
            definitions.describe(hostile)
        except Invalid as error:
            assert error.message


# --- what is ours


@pytest.mark.parametrize(
    ("source", "kind", "attributes", "inside"),
    [
        (File(path="/v/a b&c", format="qcow2"), "file", {"file": "/v/a b&c"}, []),
        (Block(path="/dev/x"), "block", {"dev": "/dev/x"}, []),
        (Nbd(export="e", socket="/s"), "network", {"protocol": "nbd", "name": "e"}, ["host"]),
        (Iscsi(iqn="iqn.x", lun=1, host="h"), "network", {"protocol": "iscsi", "name": "iqn.x/1"}, ["host"]),
        (
            Rbd(pool="p", image="i", monitors=(("m1", 1), ("m2", 2)), user="u", secret_uuid=UUID),
            "network",
            {"protocol": "rbd", "name": "p/i"},
            ["host", "host", "auth"],
        ),
    ],
)
def test_a_volume_becomes_what_it_is_on_this_node(
    source: DiskSource, kind: str, attributes: dict[str, str], inside: list[str]
) -> None:
    disk = render(domain(volume()), disks={"sda": source}).find("devices/disk")
    assert disk is not None and disk.get("type") == kind and disk.find("auth") is None
    found, driver = disk.find("source"), disk.find("driver")
    assert found is not None and found.attrib == attributes and [child.tag for child in found] == inside
    assert driver is not None and driver.get("type") == getattr(source, "format", "raw")
    assert (driver.get("error_policy"), driver.get("rerror_policy")) == ("stop", "stop")


def test_the_users_own_error_policy_and_encryption_stay() -> None:
    text = volume(more='<driver error_policy="report" cache="none"/>').replace(
        "</source>", '<encryption format="luks"/></source>'
    )
    disk = render(domain(text)).find("devices/disk")
    assert disk is not None and disk.find("source/encryption") is not None
    driver = disk.find("driver")
    assert driver is not None and (driver.get("error_policy"), driver.get("cache")) == ("report", "none")


def test_a_nic_gets_its_target() -> None:
    target = Bridge(bridge="vmbr100", device="tap7", mtu=1400)
    found = render(domain(nic()), nics={MAC: target}).find("devices/interface")
    assert found is not None and found.find("target").get("dev") == "tap7" and found.find("mtu").get("size") == "1400"
    found = render(domain(nic()), nics={MAC: Macvtap(device="ens1v0")}).find("devices/interface")
    assert found is not None and found.get("type") == "direct"
    tagged = nic().replace("</interface>", '<vlan><tag id="7"/></vlan></interface>')
    for target in (Macvtap(device="ens1v0", vlan=5), Hostdev(pci_address="0000:65:00.1", vlan=5)):
        found = render(domain(tagged), nics={MAC: target}).find("devices/interface")
        assert found is not None and [one.get("id") for one in found.findall("vlan/tag")] == ["5"]
    found = render(domain(nic()), nics={MAC: Hostdev(pci_address="0000:65:00.1")}).find("devices/interface")
    assert found is not None and found.find("source/address").get("slot") == "0x00"
    with pytest.raises(Invalid):
        render(domain(nic()), nics={MAC: VhostUser(socket="/s")})


@pytest.mark.parametrize("model", ["virtio", "e1000e", "rtl8139"])
def test_what_a_nic_asks_of_speed_and_queues_goes_along_to_every_node(model: str) -> None:
    limits = '<bandwidth><inbound average="1000" peak="5000" burst="64"/><outbound average="500"/></bandwidth>'
    asked = f'{limits}<driver name="vhost" queues="4"/>'
    text = nic(more=asked).replace("virtio", model)
    for device in ("tap1", "tap2"):  # as on two nodes, and by hot plug
        target = Bridge(bridge="vmbr100", device=device, mtu=1400)
        for made in (rendered(domain(text), nics={MAC: target}), nic_for(text, target)):
            assert limits in made and 'queues="4"' in made and f'type="{model}"' in made and device in made


def test_a_nic_without_mac_keeps_the_one_derived_for_it() -> None:
    text = domain(nic("vmbr1", "") + nic("vmbr2", ""))
    first, second = definitions.describe(text).nics
    assert first.mac != second.mac and definitions.describe(text).nics == (first, second)
    out = render(text, nics={spec.mac: Bridge(bridge=spec.source) for spec in (first, second)})
    assert [item.get("address") for item in out.findall("devices/interface/mac")] == [first.mac, second.mac]
    left = definitions.without_device(text, f'<interface type="bridge"><mac address="{first.mac}"/></interface>')
    assert [spec.mac for spec in definitions.describe(left).nics] == [second.mac]


def test_emulation_takes_what_kvm_would_need_away() -> None:
    text = domain(more='<cpu mode="host-passthrough" check="none"/>')
    emulated, real = render(text, virt_type="qemu"), render(text, virt_type="kvm")
    assert emulated.get("type") == "qemu" and emulated.findtext("devices/emulator") == "/usr/bin/qemu-system-x86_64"
    assert emulated.find("cpu").get("mode") == "maximum"
    assert real.findtext("devices/emulator") == "/usr/bin/kvm" and real.find("cpu").get("mode") == "host-passthrough"


def test_console_log_and_vnc_address_are_set_where_there_is_one() -> None:
    vnc = '<graphics type="vnc" port="5901" listen="0.0.0.0"><listen type="address" address="0.0.0.0"/></graphics>'
    serial = '<serial type="pty"><log file="/etc/shadow" append="off"/></serial>'
    out = render(domain(vnc + serial + '<console type="pty"/>'), console_log="/log", vnc_listen="10.0.0.1")
    assert out.find("devices/serial/log").attrib == {"file": "/log", "append": "on"}
    graphics = out.find("devices/graphics")
    assert graphics is not None and (graphics.get("listen"), graphics.get("port")) == ("10.0.0.1", "5901")
    assert graphics.find("listen").get("address") == "10.0.0.1"
    assert render(domain(), console_log="/log", vnc_listen="10.0.0.1").find("devices/serial") is None


def test_the_declaration_of_another_encoding_is_not_passed_on() -> None:
    out = rendered('<?xml version="1.0" encoding="latin-1"?>\n' + domain(more="<title>käse</title>"))
    assert out.startswith("<domain") and "<title>käse</title>" in out


# --- what it says


def test_the_wires_fields_are_told() -> None:
    devices = (
        volume() + nic() + '<controller type="usb"/><controller type="pci" model="pci-root"/><console type="pty"/>'
        '<graphics type="vnc" port="5900" listen="0.0.0.0"/>'
    )
    topology = '<cpu><topology sockets="1" cores="2" threads="1"/></cpu>'
    more = f"<description>a VM</description><features><acpi/><apic/></features>{topology}"
    found = definitions.describe(domain(devices, more=more))
    assert (found.memory_bytes, found.vcpus, found.vcpu_topology, found.description) == (2**29, 2, "1/2/1", "a VM")
    assert (found.type, found.arch, found.machine, found.console) == ("hvm", "x86_64", "pc", "pty")
    assert (found.vnc_listen, found.vnc_port, found.emulator) == ("0.0.0.0", "5900", "/usr/bin/kvm")
    assert found.features == ("acpi", "apic") and found.controllers == (("usb", None), ("pci", "pci-root"))
    assert found.volumes == ("vms/web1",) and found.disks[0].kind == "rbd" and found.outside == () and found.failover


@pytest.mark.parametrize(
    ("bridge", "network"),
    [("vmbr100", "100"), ("brupstream", "upstream"), ("brcluster", "cluster"), ("brstorage", "storage")]
    + [(other, None) for other in ("br0", "vmbr", "vmbr0100", "xvmbr100", "brupstream2")],
)
def test_networks_are_known_by_their_bridge(bridge: str, network: str | None) -> None:
    assert definitions.describe(domain(nic(bridge))).nics[0].network == network


@pytest.mark.parametrize(
    ("devices", "more", "words", "failover"),
    [
        ('<disk type="file"><source file="/iso/d.iso"/><target dev="hda"/></disk>', "", "/iso/d.iso", False),
        ('<disk type="block"><source dev="/dev/sdx"/><target dev="hda"/></disk>', "", "/dev/sdx", False),
        ('<disk type="network"><source protocol="nbd" name="n"/><target dev="hda"/></disk>', "", "nbd:n", True),
        ('<hostdev mode="subsystem" type="pci"/>', "", "host device of type pci", False),
        ('<interface type="hostdev"><source/></interface>', "", "SR-IOV", True),
        ('<filesystem type="mount"><source dir="/srv"/></filesystem>', "", "/srv", False),
        ('<tpm model="tpm-tis"><backend type="emulator"/></tpm>', "", "TPM", False),
        ("", "<os><kernel>/boot/k</kernel><initrd>/boot/i</initrd></os>", "/boot/k", False),
        ("", "<os><loader readonly='yes'>/fw</loader><nvram>/nv</nvram></os>", "/nv", False),
        ("", "<os firmware='efi'/>", "UEFI", False),
        ("", "<qemu:commandline><qemu:arg value='-x'/></qemu:commandline>", "QEMU arguments", True),
    ],
)
def test_what_it_uses_of_the_host_is_told(devices: str, more: str, words: str, failover: bool) -> None:
    found = definitions.describe(domain(devices, more=more))
    assert any(words in sentence for sentence in found.outside) and found.failover is failover


def test_an_empty_cdrom_ties_nothing() -> None:
    found = definitions.describe(domain('<disk type="file" device="cdrom"><target dev="hda"/></disk>'))
    assert found.outside == () and found.failover


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (domain(name=" "), "no <name>"),
        (domain(uuid="<uuid>x</uuid>"), "is not a UUID"),
        (domain().replace("<memory", "<memorie").replace("</memory", "</memorie"), "no <memory>"),
        (domain().replace(">512<", ">-5<"), "<memory> is not a size"),
        (domain().replace(">2</vcpu", ">many</vcpu"), "not a number of CPUs"),
        (domain(volume("vms")), "is not POOL/VOLUME"),
        (domain(volume("vms/../x")), "is not POOL/VOLUME"),
        (domain(volume() + volume("vms/b")), "two disks have the target sda"),
        (domain(nic() + nic()), "two NICs have the MAC"),
        (domain(nic(mac='<mac address="hello"/>')), "is not a MAC"),
        (domain("<disk/>"), "no <target"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        definitions.describe(text)


def test_topology_follows_the_cpus() -> None:
    text = domain(more='<cpu><topology sockets="2" cores="1" threads="1"/></cpu>')
    assert definitions.describe(definitions.with_vcpus(text, 6)).vcpu_topology == "2/3/1"
    assert definitions.describe(definitions.with_vcpus(text, 5)).vcpu_topology == "1/5/1"


def test_a_disk_is_found_by_its_source_too() -> None:
    text = domain(volume() + volume("vms/b", "sdb"))
    gone = definitions.without_device(text, '<disk type="network"><source protocol="rbd" name="vms/b"/></disk>')
    assert definitions.describe(gone).volumes == ("vms/web1",)
    with pytest.raises(NotFound):
        definitions.without_device(gone, volume("vms/b", "sdb"))


def test_random_cuts_never_crash() -> None:
    """As the property above, but cut and doubled at random places of a real definition."""
    random_ = random.Random(2)
    text = domain(volume() + nic())
    for _round in range(2000):
        a, b = sorted(random_.sample(range(len(text)), 2))
        for hostile in (text[:a] + text[b:], text[:b] + text[a:]):
            try:
                rendered(hostile)
            except Invalid:
                continue


@pytest.mark.parametrize("tag", ["name", "uuid", "memory", "vcpu", "devices"])
def test_what_must_stand_once_is_refused_twice(tag: str) -> None:
    text = "<domain><name>a</name><uuid>2b57194c-777e-54d9-9dee-6a6bada3c400</uuid><memory>64</memory><vcpu>1</vcpu>"
    text += "<os><type>hvm</type></os><devices><emulator>/usr/bin/kvm</emulator></devices></domain>"
    end = text.index(f"</{tag}>") + len(tag) + 3
    twice = text[:end] + text[text.index(f"<{tag}>") : end] + text[end:]
    LibvirtDefinitions().describe(text)
    with pytest.raises(Invalid, match=f"<{tag}> is given twice"):
        LibvirtDefinitions().describe(twice)
