"""What a definition uses of the host beyond PVC's pools and networks, in words, and whether it ties the VM to one node.

Fencing and placement read the answer: an entry here means "not everything it writes to is known to us", so storage
proof is not enough for it; failover False means that what it needs exists on one node only. Unknown is told, never left
out.
"""

from __future__ import annotations

from collections.abc import Iterator

from pvc_compute_libvirt.text import Element

QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"

Finding = tuple[str, bool]
"""(sentence, ties the VM to its node)."""


def find_outside(root: Element) -> tuple[tuple[str, ...], bool]:
    """(what it uses of the host, whether it can run on another node)."""
    findings = [*_boot_files(root), *_disks(root), *_nics(root), *_devices(root), *_qemu(root)]
    return tuple(words for words, _ in findings), not any(tied for _, tied in findings)


def _boot_files(root: Element) -> Iterator[Finding]:
    for path, what in (
        ("os/kernel", "kernel"),
        ("os/initrd", "initrd"),
        ("os/dtb", "device tree"),
        ("os/acpi/table", "ACPI table"),
    ):
        for element in root.all(path):
            yield f"host file {element.words()} ({what})", True
    for loader in root.all("os/loader"):
        if loader.words():
            yield f"host file {loader.words()} (loader, expected on every node)", loader.get("readonly") == "no"
    stateless = any(loader.get("stateless") == "yes" for loader in root.all("os/loader"))
    for nvram in root.all("os/nvram"):
        yield f"host file {nvram.words() or 'of libvirt'} (UEFI variables)", True
    os_element = root.find("os")
    if os_element and os_element.get("firmware") == "efi" and not stateless and root.find("os/nvram") is None:
        yield "host file of libvirt (UEFI variables)", True


def _disks(root: Element) -> Iterator[Finding]:
    for element in root.all("devices/disk"):
        target, source, kind = element.find("target"), element.find("source"), element.get("type", "file")
        where = f"(disk {target.get('dev') if target else '?'})"
        for image in _explicit_backing(element):
            yield f"host file {image} as backing image {where}", True
        if source is None:
            continue
        if kind == "network":
            if source.get("protocol") != "rbd":
                yield f"network disk {source.get('protocol')}:{source.get('name')} {where}", False
            continue
        named = next((source.get(name) for name in ("file", "dev", "dir", "path", "volume") if source.get(name)), "")
        if named or kind not in ("file", "block"):
            yield f"host {kind} {named or 'source'} {where}", True


def _explicit_backing(disk: Element) -> Iterator[str]:
    store = disk.find("backingStore")
    while store is not None:
        source = store.find("source")
        if source is not None and (source.get("file") or source.get("dev")):
            yield source.get("file") or source.get("dev")
        store = store.find("backingStore")


def _nics(root: Element) -> Iterator[Finding]:
    for element in root.all("devices/interface"):
        kind, source = element.get("type"), element.find("source")
        if kind == "hostdev":
            yield "host device: a PCI function as a NIC (SR-IOV)", False
        elif kind == "direct":
            yield f"host device {source.get('dev') if source else ''} as a NIC (macvtap)", False
        elif kind == "network":
            yield f"libvirt's own network {source.get('network') if source else ''} of the host", False
        elif kind in ("ethernet", "vhostuser", "vdpa", "mcast", "server", "client", "udp"):
            yield f"host network connection of type {kind}", False


def _devices(root: Element) -> Iterator[Finding]:
    for element in root.all("devices/hostdev"):
        yield f"host device of type {element.get('type') or element.get('mode') or 'unknown'}", True
    for element in root.all("devices/filesystem"):
        source = element.find("source")
        yield f"host directory {_named(source)} (filesystem)", True
    for element in root.all("devices/tpm"):
        backend = element.find("backend")
        yield f"TPM of type {backend.get('type') if backend else 'unknown'}, its state lies on the node", True
    for element in root.all("devices/memory"):
        if element.find("source/path") is not None:
            yield f"host file {element.words('source/path')} as memory", True
    for element in root.all("devices/input"):
        if element.get("type") in ("passthrough", "evdev"):
            yield f"host input device {_named(element.find('source'))}", True
    for tag in ("serial", "parallel", "console", "channel"):
        for element in root.all(f"devices/{tag}"):
            path = _named(element.find("source"))
            if path and element.get("type") in ("dev", "file", "pipe", "unix"):
                yield f"host {element.get('type')} {path} ({tag})", element.get("type") == "dev"


def _qemu(root: Element) -> Iterator[Finding]:
    for element in root.children:
        namespace, _, tag = element.tag.rpartition(" ")
        if namespace == QEMU_NAMESPACE and tag in ("commandline", "override"):
            yield f"QEMU arguments (qemu:{tag}), which may name anything", False


def _named(source: Element | None) -> str:
    if source is None:
        return ""
    return next((source.get(name) for name in ("path", "dir", "dev", "file", "name", "socket") if source.get(name)), "")
