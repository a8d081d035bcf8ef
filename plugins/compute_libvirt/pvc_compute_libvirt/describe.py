"""What a definition says, as the core's Description. Reading only: render.py and edit.py change, outside.py judges
what of the host is used. Elements: libvirt's "Domain XML format" (libvirt.org/formatdomain.html)."""

from __future__ import annotations

import hashlib
import re

from pvc_compute_libvirt.outside import find_outside
from pvc_compute_libvirt.reach import admin_only
from pvc_compute_libvirt.text import Document, Element, parse
from pvc_core.errors import Invalid
from pvc_core.ids import checked_name, checked_uuid
from pvc_core.model.vm import Description, DiskSpec, NicSpec

DEVICES = ("disk", "interface")
HOST_NETWORKS = ("upstream", "cluster", "storage")
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_VNI_BRIDGE = re.compile(r"vmbr([1-9][0-9]{0,7})")
_HOST_BRIDGE = re.compile(rf"br({'|'.join(HOST_NETWORKS)})")
_UNITS = {"b": 1, "bytes": 1, "kb": 10**3, "k": 2**10, "kib": 2**10, "mb": 10**6, "m": 2**20, "mib": 2**20}
_UNITS |= {"gb": 10**9, "g": 2**30, "gib": 2**30, "tb": 10**12, "t": 2**40, "tib": 2**40}


def describe(definition: str) -> Description:
    """Raises Invalid with a sentence naming the element and line that is wrong or missing."""
    document = parse(definition, root=("domain",))
    root = document.root
    _once_each(root, "name", "uuid", "memory", "vcpu", "devices")
    outside, failover = find_outside(root)
    graphics = next((item for item in root.all("devices/graphics") if item.get("type") == "vnc"), None)
    os_type = root.find("os/type")
    return Description(
        name=_name(root),
        uuid=own_uuid(root),
        memory_bytes=memory_bytes(root),
        vcpus=vcpus(root),
        description=root.words("description"),
        vcpu_topology=_topology(root),
        nics=tuple(nics(document)),
        disks=tuple(disks(document)),
        type=root.words("os/type") or "hvm",
        arch=os_type.get("arch") if os_type else "",
        machine=os_type.get("machine") if os_type else "",
        console=_console(root),
        vnc_listen=graphics.get("listen") if graphics else "",
        vnc_port=graphics.get("port") if graphics else "",
        emulator=root.words("devices/emulator"),
        features=tuple(item.tag for features in root.all("features") for item in features.children),
        controllers=tuple((item.get("type"), item.attrs.get("model")) for item in root.all("devices/controller")),
        outside=outside,
        failover=failover,
        admin_only=admin_only(root),
    )


def describe_device(device: str) -> DiskSpec | NicSpec:
    """Of the text of one disk or NIC. A NIC that gives no MAC has none yet ("": with_device chooses it)."""
    root = parse(device, root=DEVICES).root
    return disk(root) if root.tag == "disk" else nic(root, "")


def own_uuid(root: Element) -> str | None:
    text = root.words("uuid")
    if not text:
        return None
    try:
        return checked_uuid(text)
    except Invalid as error:
        raise Invalid(f"line {_line(root, 'uuid')}: <uuid>: {error.message}", help=error.help) from None


def memory_bytes(root: Element) -> int:
    """Of <memory>; libvirt's default unit is KiB."""
    element = root.find("memory")
    if element is None:
        raise Invalid("the definition has no <memory>", help='give one, like <memory unit="MiB">1024</memory>')
    unit = element.get("unit", "KiB").lower()
    if (
        unit not in _UNITS
        or not element.words().isascii()
        or not element.words().isdigit()
        or len(element.words()) > 15
    ):
        raise Invalid(
            f"line {element.line}: <memory> is not a size", help='give one, like <memory unit="MiB">1024</memory>'
        )
    size = int(element.words()) * _UNITS[unit]
    if size == 0:
        raise Invalid(f"line {element.line}: <memory> is 0", help='give a size, like <memory unit="MiB">1024</memory>')
    return size


def vcpus(root: Element) -> int:
    element = root.find("vcpu")
    if element is None:
        return 1  # libvirt's default
    text = element.words()
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) == 0:
        raise Invalid(f"line {element.line}: <vcpu> is {text[:20]!r}, not a number of CPUs")
    return int(text)


def disks(document: Document) -> list[DiskSpec]:
    """Raises Invalid for a disk without a target, a target given twice, or a volume that is not POOL/VOLUME."""
    found: dict[str, DiskSpec] = {}
    for element in document.root.all("devices/disk"):
        spec = disk(element)
        if spec.dev in found:
            raise Invalid(f"line {element.line}: two disks have the target {spec.dev}", help="give each its own")
        found[spec.dev] = spec
    return list(found.values())


def disk(element: Element) -> DiskSpec:
    target = element.find("target")
    if target is None or not target.get("dev"):
        raise Invalid(
            f"line {element.line}: a <disk> has no <target dev=...>", help='give one, like <target dev="sda"/>'
        )
    source = element.find("source")
    kind = element.get("type", "file")
    if kind == "network":
        kind = source.get("protocol") if source else ""
    name = volume_name(element)
    return DiskSpec(
        dev=target.get("dev"),
        bus=target.get("bus"),
        kind=kind,
        volume=name,
        path=None if name or source is None else source_path(source),
        read_only=element.find("readonly") is not None or element.get("device") == "cdrom",
        device=element.get("device", "disk"),
    )


def volume_name(element: Element) -> str | None:
    """ "POOL/VOLUME" if this disk is a volume of PVC's: on the wire every such disk is an rbd network disk."""
    source = element.find("source")
    if element.get("type") != "network" or source is None or source.get("protocol") != "rbd":
        return None
    pool, _, volume = source.get("name").partition("/")
    try:
        return f"{checked_name(pool, 'pool')}/{checked_name(volume, 'volume')}"
    except Invalid as error:
        raise Invalid(
            f"line {source.line}: the disk's source {source.get('name')!r} is not POOL/VOLUME: {error.message}",
            help=error.help,
        ) from None


def source_path(source: Element) -> str | None:
    """What a disk's source names, whatever its kind."""
    for name in ("file", "dev", "dir", "volume", "name", "path"):
        if source.get(name):
            return source.get(name)
    return None


def nics(document: Document) -> list[NicSpec]:
    """Raises Invalid for a MAC that is none or is given twice."""
    seed = own_uuid(document.root) or document.root.words("name")
    found: dict[str, NicSpec] = {}
    for position, element in enumerate(document.root.all("devices/interface")):
        spec = nic(element, derived_mac(seed, position))
        if spec.mac in found:
            raise Invalid(f"line {element.line}: two NICs have the MAC {spec.mac}", help="give each its own")
        found[spec.mac] = spec
    return list(found.values())


def nic(element: Element, default_mac: str) -> NicSpec:
    kind = element.get("type")
    if not kind:
        raise Invalid(
            f"line {element.line}: an <interface> has no type", help='give one, like <interface type="bridge">'
        )
    given, source, model = element.find("mac"), element.find("source"), element.find("model")
    mac = given.get("address").lower() if given else default_mac
    if (given is not None or mac) and not _MAC.fullmatch(mac):
        raise Invalid(f"line {element.line}: {mac[:40]!r} is not a MAC", help="a MAC looks like 52:54:00:12:34:56")
    name = _nic_source(kind, element, source)
    return NicSpec(
        kind=kind,
        mac=mac,
        source=name,
        model=model.get("type") if model else "",
        network=network_of_bridge(name) if kind == "bridge" else None,
    )


def derived_mac(seed: str, position: int) -> str:
    """The MAC of a NIC whose definition gives none: the same for the same VM and position, always."""
    digest = hashlib.sha256(f"{seed}/{position}".encode()).digest()
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in digest[:3])


def network_of_bridge(bridge: str) -> str | None:
    match = _VNI_BRIDGE.fullmatch(bridge) or _HOST_BRIDGE.fullmatch(bridge)
    return match[1] if match else None


def _nic_source(kind: str, element: Element, source: Element | None) -> str:
    if kind == "hostdev":
        return element.words("sriov_device") or _pci_address(source)
    if source is None:
        return ""
    return source.get({"bridge": "bridge", "direct": "dev", "network": "network"}.get(kind, "dev"))


def _pci_address(source: Element | None) -> str:
    address = source.find("address") if source else None
    if address is None:
        return ""
    try:
        parts = [int(address.get(name, "0"), 0) for name in ("domain", "bus", "slot", "function")]
    except ValueError:
        raise Invalid(f"line {address.line}: the PCI address is not made of numbers") from None
    return "{:04x}:{:02x}:{:02x}.{:x}".format(*parts)


def _name(root: Element) -> str:
    element = root.find("name")
    if element is None or not element.text.strip():
        raise Invalid("the definition has no <name>", help="give one, like <name>web1</name>")
    return element.text


def _once_each(root: Element, *tags: str) -> None:
    """libvirt would take the first of two and say nothing; which one was meant is a guess."""
    for tag in tags:
        if len(found := list(root.all(tag))) > 1:
            raise Invalid(f"line {found[1].line}: <{tag}> is given twice", help=f"a definition has one <{tag}>")


def _topology(root: Element) -> str:
    element = root.find("cpu/topology")
    return "/".join(element.get(part, "1") for part in ("sockets", "cores", "threads")) if element else ""


def _console(root: Element) -> str:
    element = root.find("devices/console") or root.find("devices/serial")
    return element.get("type") if element else ""


def _line(root: Element, path: str) -> int:
    element = root.find(path)
    return element.line if element else root.line
