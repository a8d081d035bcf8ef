"""What libvirt's XML of a running guest tells, and changes of it: disks and NICs in and out, an image resized.

Functions on a libvirt connection, called by driver.py on a thread that may block; errors are libvirt's or PVC's.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import libvirt

from pvc_compute_libvirt import describe as read
from pvc_compute_libvirt.devices import disk_for, nic_for
from pvc_compute_libvirt.text import Document, Element, parse
from pvc_core.contracts.targets import DiskSource, NicTarget
from pvc_core.errors import Invalid, NotFound, Refused


@dataclass(frozen=True, slots=True)
class Live:
    """A running guest, as far as its XML tells."""

    name: str
    vnc_listen: str = ""
    vnc_port: int = 0
    pty: str = ""
    console_log: str = ""
    taps: dict[str, str] = field(default_factory=dict)
    """Tap device -> MAC."""


def find(connection: libvirt.virConnect, uuid: str) -> libvirt.virDomain | None:
    """The running (or paused) domain; None when libvirt says that there is none."""
    try:
        domain = connection.lookupByUUIDString(uuid)
        return domain if domain.isActive() else None
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def running(connection: libvirt.virConnect, uuid: str) -> libvirt.virDomain:
    domain = find(connection, uuid)
    if domain is None:
        raise NotFound(f"guest {uuid} does not run on this node")
    return domain


def look(domain: libvirt.virDomain) -> Live:
    document = _document(domain)
    root = document.root
    graphics = next((item for item in root.all("devices/graphics") if item.get("type") == "vnc"), None)
    port = graphics.get("port") if graphics is not None else ""
    ports = [item for tag in ("serial", "console") for item in root.all(f"devices/{tag}") if item.get("type") == "pty"]
    serial = ports[0] if ports else None
    source, log = (serial.find("source"), serial.find("log")) if serial is not None else (None, None)
    return Live(
        name=root.words("name"),
        vnc_listen=graphics.get("listen") if graphics is not None else "",
        vnc_port=int(port) if port.isdigit() else 0,
        pty=source.get("path") if source is not None else "",
        console_log=log.get("file") if log is not None else "",
        taps={_tap(item): _mac(item) for item in root.all("devices/interface") if _tap(item)},
    )


def screen(uuid: str, connection: libvirt.virConnect) -> socket.socket:
    """A connection to its VNC server. Raises NotFound (it is off), Refused (it has none)."""
    domain = running(connection, uuid)
    kinds = [item.get("type") for item in _document(domain).root.all("devices/graphics")]
    if "vnc" not in kinds:
        raise Refused(f"guest {uuid} has no VNC server", help='give its definition <graphics type="vnc"/>, restart it')
    return socket.socket(fileno=domain.openGraphicsFD(kinds.index("vnc"), 0))


def attach_disk(domain: libvirt.virDomain, device: str, source: DiskSource) -> None:
    try:
        xml = disk_for(device, source)
        wanted = parse(xml, root=("disk",)).root
        dev = read.disk(wanted).dev
    except Invalid as error:
        raise Refused(f"could not attach the disk: {error.message}", help=error.help) from None
    present = _disk(_document(domain), dev)
    if present is None:
        domain.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    elif _path(present) != _path(wanted):
        raise Refused(
            f"the guest has another disk {dev} ({_path(present)})", help="choose another target or detach that one"
        )


def attach_nic(domain: libvirt.virDomain, device: str, target: NicTarget) -> None:
    try:
        xml = nic_for(device, target)
        mac = _mac(parse(xml, root=("interface",)).root)
    except Invalid as error:
        raise Refused(f"could not attach the NIC: {error.message}", help=error.help) from None
    if _nic(_document(domain), mac) is None:
        domain.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def detach_disk(domain: libvirt.virDomain, dev: str) -> bool:
    """Whether the guest has let go of it; asks it to, if it was not asked before."""
    return _detach(domain, lambda document: _disk(document, dev))


def detach_nic(domain: libvirt.virDomain, mac: str) -> bool:
    return _detach(domain, lambda document: _nic(document, mac.lower()))


def _detach(domain: libvirt.virDomain, find_in: Callable[[Document], Element | None]) -> bool:
    document = _document(domain)
    element = find_in(document)
    if element is None:
        return True
    try:
        domain.detachDeviceFlags(document.data[element.start : element.end].decode(), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_DEVICE_MISSING:
            return True
        if "in the process of unplug" not in (error.get_error_message() or ""):
            raise
    return find_in(_document(domain)) is None


def resize_disk(domain: libvirt.virDomain, dev: str, size_bytes: int) -> None:
    if _disk(_document(domain), dev) is None:
        raise NotFound(f"the guest has no disk {dev}")
    capacity = domain.blockInfo(dev)[0]
    if size_bytes < capacity:
        raise Refused(f"disk {dev} has {capacity} bytes and cannot shrink to {size_bytes} while the guest runs")
    if size_bytes > capacity:
        domain.blockResize(dev, size_bytes, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def _document(domain: libvirt.virDomain) -> Document:
    return parse(domain.XMLDesc(), root=("domain",))


def _disk(document: Document, dev: str) -> Element | None:
    found = (item for item in document.root.all("devices/disk") if (item.find("target") or item).get("dev") == dev)
    return next(found, None)


def _nic(document: Document, mac: str) -> Element | None:
    return next((item for item in document.root.all("devices/interface") if _mac(item) == mac), None)


def _mac(nic: Element) -> str:
    mac = nic.find("mac")
    return mac.get("address").lower() if mac is not None else ""


def _tap(nic: Element) -> str:
    target = nic.find("target")
    return target.get("dev") if target is not None else ""


def _path(disk: Element) -> str | None:
    source = disk.find("source")
    return read.source_path(source) if source is not None else None
