"""One disk or NIC as libvirt gets it: a volume's disk with its DiskSource on this node, a NIC with its NicTarget.

Used for whole definitions (render.py) and for hot plugging. Elements: libvirt.org/formatdomain.html, "Hard drives,
floppy disks, CDROMs" and "Network interfaces".
"""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from pvc_compute_libvirt import describe as read
from pvc_compute_libvirt.edit import set_mac
from pvc_compute_libvirt.text import Edits, Element, parse
from pvc_core.contracts.targets import Block, Bridge, DiskSource, File, Hostdev, Iscsi, Macvtap, Nbd, NicTarget, Rbd
from pvc_core.errors import Invalid

DISK_SOURCES = (File, Block, Rbd, Nbd, Iscsi)
NIC_TARGETS = (Bridge, Macvtap, Hostdev)

# Children of <source> that say where the bytes are; all others (encryption, slices, ...) are the user's.
_WHERE = {"host", "auth", "snapshot", "config", "timeout", "ssl", "cookies", "readahead", "identity", "reconnect"}
_WHERE |= {"initiator"}


def disk_for(device: str, source: DiskSource) -> str:
    """The <disk> in `device` as libvirt gets it. Raises Invalid."""
    document = parse(device, root=("disk",))
    edits = Edits(document)
    edits.strip_declaration()
    if read.disk(document.root).volume is not None:
        set_volume(edits, document.root, source)
    return edits.text()


def nic_for(device: str, target: NicTarget) -> str:
    """The <interface> in `device` as libvirt gets it. Raises Invalid; a MAC is needed, because it is the NIC's name."""
    document = parse(device, root=("interface",))
    if document.root.find("mac") is None:
        raise Invalid("the NIC has no <mac>", help='give one, like <mac address="52:54:00:12:34:56"/>')
    edits = Edits(document)
    edits.strip_declaration()
    set_nic(edits, document.root, target, mac=read.nic(document.root, "").mac)
    return edits.text()


def set_volume(edits: Edits, disk: Element, source: DiskSource) -> None:
    """Type, source, authentication and format become the source's; the rest of the disk stays."""
    kind, format_, attributes, inside = _disk_source(source)
    edits.set_attr(disk, "type", kind)
    element = disk.find("source")
    assert element is not None  # it has a volume's name
    kept = "".join(edits.raw(child) for child in element.children if child.tag not in _WHERE)
    edits.replace(element, _tag("source", attributes, inside + kept))
    for auth in disk.all("auth"):
        edits.remove(auth)
    _set_driver(edits, disk, format_)


def _set_driver(edits: Edits, disk: Element, format_: str) -> None:
    """A guest stops at its first failed read or write, unless the user chose otherwise: a fenced one must not go on."""
    driver = disk.find("driver")
    ours = {"name": "qemu", "type": format_, "error_policy": "stop", "rerror_policy": "stop"}
    if driver is None:
        edits.insert_first(disk, _tag("driver", ours))
        return
    for name, value in ours.items():
        if name == "type" or name not in driver.attrs:
            edits.set_attr(driver, name, value)


def _disk_source(source: DiskSource) -> tuple[str, str, dict[str, str], str]:
    """(disk type, format, attributes of <source>, what stands in it)."""
    match source:
        case File(path=path, format=format_):
            return "file", format_, {"file": path}, ""
        case Block(path=path):
            return "block", "raw", {"dev": path}, ""
        case Rbd():
            hosts = "".join(_tag("host", {"name": host, "port": str(port)}) for host, port in source.monitors)
            secret = _tag("secret", {"type": "ceph", "uuid": source.secret_uuid})
            attributes = {"protocol": "rbd", "name": f"{source.pool}/{source.image}"}
            return "network", "raw", attributes, hosts + _tag("auth", {"username": source.user}, secret)
        case Nbd():
            host = {"name": source.host, "port": str(source.port)}
            where = {"transport": "unix", "socket": source.socket} if source.socket else host
            return "network", "raw", {"protocol": "nbd", "name": source.export}, _tag("host", where)
        case Iscsi():
            attributes = {"protocol": "iscsi", "name": f"{source.iqn}/{source.lun}"}
            return "network", "raw", attributes, _tag("host", {"name": source.host, "port": str(source.port)})
    raise Invalid(f"a disk of kind {type(source).__name__} cannot be given to libvirt")


def set_nic(edits: Edits, nic: Element, target: NicTarget, *, mac: str) -> None:
    """Type, source and, where the target names them, tap name and MTU; model, filters, VLANs and the rest stay."""
    set_mac(edits, nic, mac)
    match target:
        case Bridge():
            _set_source(edits, nic, "bridge", _tag("source", {"bridge": target.bridge}))
            _set_child(edits, nic, "target", {"dev": target.device} if target.device else {})
            _set_child(edits, nic, "mtu", {"size": str(target.mtu)} if target.mtu else {})
        case Macvtap():
            vlan = _vlan(target.vlan)
            _set_source(edits, nic, "direct", _tag("source", {"dev": target.device, "mode": target.mode}), vlan)
        case Hostdev():
            edits.set_attr(nic, "managed", "yes")
            source = _tag("source", {}, _tag("address", _pci(target.pci_address)))
            _set_source(edits, nic, "hostdev", source, _vlan(target.vlan))
        case _:
            raise Invalid(f"a NIC on a {type(target).__name__} cannot be given to libvirt")


def _vlan(tag: int) -> str:
    """libvirt takes the function's VLAN away unless the NIC says it (libvirt.org/formatdomain.html, "VLAN tag")."""
    return _tag("vlan", {}, _tag("tag", {"id": str(tag)})) if tag else ""


def _set_source(edits: Edits, nic: Element, kind: str, xml: str, vlan: str = "") -> None:
    """`vlan`: in place of what the NIC says of VLANs, if there is one."""
    edits.set_attr(nic, "type", kind)
    source = nic.find("source")
    if source is None:
        raise Invalid(
            f"line {nic.line}: an <interface> has no <source>", help='give one, like <source bridge="vmbr100"/>'
        )
    if vlan:
        for own in nic.all("vlan"):
            edits.remove(own)
    edits.replace(source, xml + vlan)


def _set_child(edits: Edits, nic: Element, tag: str, attributes: dict[str, str]) -> None:
    if not attributes:
        return
    own, source = nic.find(tag), nic.find("source")
    assert source is not None  # _set_source has looked
    if own is not None:
        edits.replace(own, _tag(tag, attributes))
    else:
        edits.insert_after(source, _tag(tag, attributes))


def _pci(address: str) -> dict[str, str]:
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    return {"type": "pci", "domain": f"0x{domain}", "bus": f"0x{bus}", "slot": f"0x{slot}", "function": f"0x{function}"}


def _tag(name: str, attributes: dict[str, str], inside: str = "") -> str:
    text = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name}{text}>{inside}</{name}>" if inside else f"<{name}{text}/>"
