"""What libvirt gets on this node: the user's definition with domain type, disk sources, NIC targets, console log and
VNC address set. Nothing else is touched; devices.py renders single disks and NICs, also for hot plugging."""

from __future__ import annotations

import os.path
from xml.sax.saxutils import quoteattr

from pvc_compute_libvirt import describe as read
from pvc_compute_libvirt.devices import set_nic, set_volume
from pvc_compute_libvirt.edit import set_identity, set_mac
from pvc_compute_libvirt.text import Document, Edits, Element, parse
from pvc_core.contracts.compute import RenderRequest
from pvc_core.errors import Invalid

_KVM_EMULATORS = ("kvm", "qemu-kvm", "kvm-spice")


def render(request: RenderRequest) -> str:
    document = parse(request.definition, root=("domain",))
    edits, root = Edits(document), document.root
    edits.strip_declaration()
    edits.set_attr(root, "type", request.virt_type)
    set_identity(edits, root, name=request.name, uuid=request.uuid)
    if request.virt_type == "qemu":
        _without_kvm(edits, root)
    _disks(edits, document, request)
    _nics(edits, document, request)
    if request.console_log:
        _console_log(edits, root, request.console_log)
    if request.vnc_listen:
        _vnc(edits, root, request.vnc_listen)
    return edits.text()


def _without_kvm(edits: Edits, root: Element) -> None:
    """Emulation has no host CPU to pass through, and /usr/bin/kvm of old definitions is not its program."""
    emulator, os_type, cpu = root.find("devices/emulator"), root.find("os/type"), root.find("cpu")
    if emulator is not None and os.path.basename(emulator.words()) in _KVM_EMULATORS:
        arch = (os_type.get("arch") if os_type is not None else "") or "x86_64"
        edits.set_text(emulator, f"/usr/bin/qemu-system-{arch}")
    if cpu is not None and cpu.get("mode") == "host-passthrough":
        edits.set_attr(cpu, "mode", "maximum")


def _disks(edits: Edits, document: Document, request: RenderRequest) -> None:
    read.disks(document)  # refuses doubles
    for element in document.root.all("devices/disk"):
        spec = read.disk(element)
        if spec.volume is None:
            continue
        source = request.disks.get(spec.dev)
        if source is None:
            raise Invalid(f"nobody told where volume {spec.volume} (disk {spec.dev}) is on this node")
        set_volume(edits, element, source)


def _nics(edits: Edits, document: Document, request: RenderRequest) -> None:
    elements = document.root.all("devices/interface")
    for element, spec in zip(elements, read.nics(document), strict=True):
        target = request.nics.get(spec.mac)
        if target is not None:
            set_nic(edits, element, target, mac=spec.mac)
        elif spec.network is not None:
            raise Invalid(f"nobody told what network {spec.network} (NIC {spec.mac}) is on this node")
        else:
            set_mac(edits, element, spec.mac)


def _console_log(edits: Edits, root: Element, path: str) -> None:
    """On the first serial port, or the first console if there is none; a definition without either is left alone."""
    candidates = [*root.all("devices/serial"), *root.all("devices/console")]
    port = next((item for item in candidates if item.get("type") == "pty"), None)
    if port is None:
        return
    log = f'<log file={quoteattr(path)} append="on"/>'
    own = port.find("log")
    if own is not None:
        edits.replace(own, log)
    else:
        edits.insert_first(port, log)


def _vnc(edits: Edits, root: Element, listen: str) -> None:
    """The port stays as given: libvirt chooses where none is. It refuses a <listen> that contradicts the attribute."""
    for element in root.all("devices/graphics"):
        inner = element.find("listen")
        if element.get("type") != "vnc" or (inner is not None and inner.get("type") not in ("", "address")):
            continue
        edits.set_attr(element, "listen", listen)
        if inner is not None:
            edits.replace(inner, f'<listen type="address" address={quoteattr(listen)}/>')
