"""Changes of a definition: name, UUID, volume, CPUs, memory, one device more or less. Only their own bytes change."""

from __future__ import annotations

import difflib
import re

from pvc_compute_libvirt import describe as read
from pvc_compute_libvirt.text import Document, Edits, Element, parse
from pvc_core.errors import Exists, Invalid, NotFound
from pvc_core.ids import checked_uuid
from pvc_core.units import KIB

_COUNT = re.compile(r"[0-9]{1,5}")


def with_identity(definition: str, *, name: str, uuid: str) -> str:
    document = parse(definition, root=("domain",))
    edits = Edits(document)
    set_identity(edits, document.root, name=name, uuid=checked_uuid(uuid))
    return edits.text()


def set_identity(edits: Edits, root: Element, *, name: str, uuid: str) -> None:
    name_element, uuid_element = root.find("name"), root.find("uuid")
    if name_element is None:
        raise Invalid("the definition has no <name>", help="give one, like <name>web1</name>")
    if name_element.text != name:
        edits.set_text(name_element, name)
    if uuid_element is None:
        edits.insert_after(name_element, f"<uuid>{uuid}</uuid>")
    elif uuid_element.text != uuid:
        edits.set_text(uuid_element, uuid)


def with_volume_renamed(definition: str, *, old: str, new: str) -> str:
    document = parse(definition, root=("domain",))
    edits = Edits(document)
    for disk in document.root.all("devices/disk"):
        source = disk.find("source")
        if source is not None and read.volume_name(disk) == old:
            edits.set_attr(source, "name", new)
    return edits.text()


def with_vcpus(definition: str, vcpus: int) -> str:
    """<cpu><topology> follows, because libvirt refuses one that does not multiply to <vcpu>."""
    if vcpus < 1:
        raise Invalid(f"{vcpus} is not a number of CPUs", help="give at least 1")
    document = parse(definition, root=("domain",))
    edits, root = Edits(document), document.root
    element = root.find("vcpu")
    if element is None:
        edits.insert_before(_memory(root), f"<vcpu>{vcpus}</vcpu>")
    else:
        edits.set_text(element, str(vcpus))
        edits.drop_attr(element, "current")
    topology = root.find("cpu/topology")
    if topology is not None:
        _fit_topology(edits, topology, vcpus)
    return edits.text()


def _fit_topology(edits: Edits, topology: Element, vcpus: int) -> None:
    parts = {name: topology.get(name, "1") for name in ("sockets", "dies", "threads")}
    if not all(_COUNT.fullmatch(value) and int(value) for value in parts.values()):
        raise Invalid(f"line {topology.line}: <topology> is not made of numbers")
    around = int(parts["sockets"]) * int(parts["dies"]) * int(parts["threads"])
    cores, rest = divmod(vcpus, around)
    if rest or not cores:
        for name in parts:
            if name in topology.attrs:
                edits.set_attr(topology, name, "1")
        cores = vcpus
    edits.set_attr(topology, "cores", str(cores))


def with_memory(definition: str, memory_bytes: int) -> str:
    """In KiB, libvirt's own unit; <currentMemory> is set to the same if it is there."""
    if memory_bytes < KIB:
        raise Invalid(f"{memory_bytes} bytes is not a memory size", help="give at least some MiB")
    document = parse(definition, root=("domain",))
    edits = Edits(document)
    for element in (_memory(document.root), document.root.find("currentMemory")):
        if element is not None:
            edits.set_text(element, str(memory_bytes // KIB))
            edits.set_attr(element, "unit", "KiB")
    return edits.text()


def with_device(definition: str, device: str) -> str:
    """After the last of its kind, else before <emulator>, else last in <devices>."""
    document, extra = parse(definition, root=("domain",)), parse(device, root=read.DEVICES)
    edits = Edits(document)
    kind = extra.root.tag
    text = _checked_new(document, extra)
    last = list(document.root.all(f"devices/{kind}"))[-1:]
    emulator = document.root.find("devices/emulator")
    devices = document.root.find("devices")
    if last:
        edits.insert_after(last[0], text)
    elif emulator is not None:
        edits.insert_before(emulator, text)
    elif devices is not None:
        edits.insert_first(devices, text)
    else:
        raise Invalid("the definition has no <devices>", help="give one, holding at least <emulator>")
    return edits.text()


def _checked_new(document: Document, extra: Document) -> str:
    """The device's text, with its MAC written out if it gave none; raises Exists if target or MAC is taken."""
    edits = Edits(extra)
    edits.strip_declaration()
    if extra.root.tag == "disk":
        dev = read.disk(extra.root).dev
        if any(spec.dev == dev for spec in read.disks(document)):
            raise Exists(f"a disk with the target {dev} is there already", help="choose another target")
        return edits.text().strip()
    have = read.nics(document)
    seed = read.own_uuid(document.root) or document.root.words("name")
    position = len(have)
    while read.derived_mac(seed, position) in {spec.mac for spec in have}:
        position += 1
    spec = read.nic(extra.root, read.derived_mac(seed, position))
    if any(spec.mac == other.mac for other in have):
        raise Exists(f"a NIC with the MAC {spec.mac} is there already", help="choose another MAC")
    set_mac(edits, extra.root, spec.mac)
    return edits.text().strip()


def without_device(definition: str, device: str) -> str:
    """NICs behind a removed one keep their MAC: a derived one is written out before its position changes."""
    document, named = parse(definition, root=("domain",)), parse(device, root=read.DEVICES)
    edits = Edits(document)
    if named.root.tag == "disk":
        edits.remove(_same_disk(document, named.root))
        return edits.text()
    mac = named.root.find("mac")
    if mac is None:
        raise Invalid(
            "the NIC to remove has no <mac>", help='name it by its MAC, like <mac address="52:54:00:12:34:56"/>'
        )
    elements = list(document.root.all("devices/interface"))
    specs = read.nics(document)
    at = next((index for index, spec in enumerate(specs) if spec.mac == mac.get("address").lower()), None)
    if at is None:
        raise NotFound(f"the definition has no NIC with the MAC {mac.get('address')}")
    edits.remove(elements[at])
    for element, spec in zip(elements[at + 1 :], specs[at + 1 :], strict=True):
        set_mac(edits, element, spec.mac)
    return edits.text()


def _same_disk(document: Document, named: Element) -> Element:
    target, source = named.find("target"), named.find("source")
    dev = target.get("dev") if target is not None else ""
    path = read.source_path(source) if source is not None else None
    for element in document.root.all("devices/disk"):
        own = element.find("source")
        if dev and read.disk(element).dev == dev:
            return element
        if not dev and path and own is not None and read.source_path(own) == path:
            return element
    raise NotFound(f"the definition has no disk {dev or path or 'like that'}")


def set_mac(edits: Edits, element: Element, mac: str) -> None:
    """Write the NIC's MAC out if the text gives none."""
    if element.find("mac") is None:
        edits.insert_first(element, f'<mac address="{mac}"/>')


def diff(old: str, new: str) -> list[str]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), n=1, lineterm="")
    return [line for line in lines][2:]


def _memory(root: Element) -> Element:
    element = root.find("memory")
    if element is None:
        raise Invalid("the definition has no <memory>", help='give one, like <memory unit="MiB">1024</memory>')
    return element
