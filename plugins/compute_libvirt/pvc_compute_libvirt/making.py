"""Devices and CPU layouts written for a definition: the text that edit.py puts in, and that of what is there already.

What the elements mean: libvirt's "Domain XML format" (libvirt.org/formatdomain.html). Which forms a disk or NIC of
PVC's has: docs/compute.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from string import ascii_lowercase
from xml.sax.saxutils import escape, quoteattr

from pvc_compute_libvirt import describe as read
from pvc_compute_libvirt import edit
from pvc_compute_libvirt.text import Document, Edits, Element, parse
from pvc_core.errors import Exists, Invalid, NotFound
from pvc_core.ids import checked_name

PREFIX = {"virtio": "vd", "ide": "hd", "sata": "sd", "scsi": "sd", "usb": "sd"}
"""libvirt's names of disks by their bus."""
CPUS_MAX = 99_999
_STEP = "  "


def with_topology(definition: str, *, sockets: int, cores: int, threads: int) -> str:
    count = sockets * cores * threads
    if min(sockets, cores, threads) < 1 or count > CPUS_MAX:
        raise Invalid(f"{sockets}/{cores}/{threads} is no CPU topology", help="give sockets, cores and threads")
    text = edit.with_vcpus(definition, count)
    document = parse(text, root=("domain",))
    edits, root = Edits(document), document.root
    shape = {"sockets": str(sockets), "cores": str(cores), "threads": str(threads)}
    written = f"<topology {' '.join(f'{name}={quoteattr(value)}' for name, value in shape.items())}/>"
    cpu, topology = root.find("cpu"), root.find("cpu/topology")
    if topology is not None:
        edits.drop_attr(topology, "dies")
        for name, value in shape.items():
            edits.set_attr(topology, name, value)
    elif cpu is not None:
        edits.insert_first(cpu, written)
    else:
        vcpu = root.find("vcpu")
        assert vcpu is not None  # with_vcpus has seen to it
        edits.insert_after(vcpu, f"<cpu>{written}</cpu>")
    return edits.text()


def new_disk(definition: str, source: str, *, bus: str, dev: str) -> str:
    document = parse(definition, root=("domain",))
    disks = read.disks(document)
    if any(source in (disk.volume, disk.path) for disk in disks):
        raise Exists(f"the VM has a disk on {source} already")
    if bus not in PREFIX:
        raise Invalid(f"{bus!r} is no bus of disks", help=f"one of {', '.join(PREFIX)}")
    taken = {disk.dev for disk in disks}
    if dev in taken:
        raise Exists(f"the VM has a disk {dev} already", help="name none to get a free one")
    target = f"<target dev={quoteattr(dev or _free(PREFIX[bus], taken))} bus={quoteattr(bus)}/>"
    if source.startswith("/"):
        inner = ['<driver name="qemu" type="raw"/>', f"<source file={quoteattr(source)}/>", target]
        return _element('<disk type="file" device="disk">', inner, "</disk>")
    pool, _, volume = source.partition("/")
    name = f"{checked_name(pool, 'pool')}/{checked_name(volume, 'volume')}"
    inner = ['<driver name="qemu" discard="unmap"/>', *_as_others_have(document, name), target]
    return _element('<disk type="network" device="disk">', inner, "</disk>")


def _as_others_have(document: Document, name: str) -> list[str]:
    """Monitors and secret are the cluster's, the same for all its volumes; clients of PVC 1.0 copy them from any."""
    opening = f'<source protocol="rbd" name={quoteattr(name)}'
    other = next((disk for disk in document.root.all("devices/disk") if read.volume_name(disk)), None)
    if other is None:
        return [f"{opening}/>"]
    edits = Edits(document)
    source, auth = other.find("source"), other.find("auth")
    hosts = [edits.raw(one) for one in (source.all("host") if source is not None else ())]
    texts = [edits.raw(auth)] if auth is not None else []
    return [*texts, f"{opening}>{''.join(hosts)}</source>" if hosts else f"{opening}/>"]


def _free(prefix: str, taken: set[str]) -> str:
    """sda ... sdz, sdaa ... sdzz: the first that is not taken."""
    for letters in (*ascii_lowercase, *("".join(pair) for pair in product(ascii_lowercase, repeat=2))):
        if prefix + letters not in taken:
            return prefix + letters
    raise Invalid(f"no disk name is free on this bus: {prefix}a to {prefix}zz are used")


def new_nic(*, mac: str, model: str, network: str, function: str, pci: Mapping[str, str] | None) -> str:
    inner = [f"<mac address={quoteattr(mac)}/>"]
    kind = f"<model type={quoteattr(model)}/>"
    if network:
        bridge = f"br{network}" if network in read.HOST_NETWORKS else f"vmbr{network}"
        if read.network_of_bridge(bridge) is None:
            raise Invalid(f"{network!r} is no network", help=f"give a VNI or one of {', '.join(read.HOST_NETWORKS)}")
        inner += [f"<source bridge={quoteattr(bridge)}/>", kind]
        return _element('<interface type="bridge">', inner, "</interface>")
    if pci is None:
        inner += [f'<source dev={quoteattr(function)} mode="passthrough"/>', kind]
        return _element('<interface type="direct">', inner, "</interface>")
    parts = " ".join(f'{name}="0x{int(pci[name], 16):x}"' for name in ("domain", "bus", "slot", "function"))
    inner += [f'<source><address type="pci" {parts}/></source>', f"<sriov_device>{escape(function)}</sriov_device>"]
    return _element('<interface type="hostdev" managed="yes">', inner, "</interface>")


def device(definition: str, name: str) -> str:
    document = parse(definition, root=("domain",))
    edits = Edits(document)
    for element in document.root.all("devices/disk"):
        disk = read.disk(element)
        if name in (disk.dev, disk.volume, disk.path):
            return edits.raw(element)
    elements: list[Element] = list(document.root.all("devices/interface"))
    for element, nic in zip(elements, read.nics(document), strict=True):
        if nic.mac == name.lower():
            alone = parse(edits.raw(element), root=read.DEVICES)
            with_mac = Edits(alone)
            edit.set_mac(with_mac, alone.root, nic.mac)
            return with_mac.text()
    raise NotFound(f"the VM has no disk or NIC {name!r}", help="`pvc vm info -f long` shows those it has")


def _element(opening: str, inner: list[str], closing: str) -> str:
    """As libvirt lays devices out: two spaces a level, a device on the second."""
    return "\n".join([opening, *(3 * _STEP + line for line in inner), 2 * _STEP + closing])
