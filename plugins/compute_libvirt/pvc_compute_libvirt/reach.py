"""What a definition must have role admin for: whatever is not known to stay inside PVC's pools and networks.

An allowlist, because what libvirt or QEMU learn next must not open a host to an operator. outside.py answers another
question (may the guest start elsewhere, is storage proof enough); nothing here is about that. Each sentence tells all
of what it is about, because who changes a definition is held to the sentences that were true of it before: another
directory, device or argument is another sentence. Elements: libvirt.org/formatdomain.html.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from pvc_compute_libvirt.text import Element

TOP = frozenset({
    "name", "uuid", "genid", "title", "description", "metadata", "os", "vcpu", "vcpus", "maxMemory", "memory",
    "currentMemory", "memtune", "memoryBacking", "numatune", "cputune", "iothreads", "iothreadids", "cpu",
    "features", "clock", "on_poweroff", "on_reboot", "on_crash", "on_lockfailure", "pm", "devices", "sysinfo",
    "resource",
})  # fmt: skip
OS = frozenset(["type", "boot", "bootmenu", "smbios", "bios", "loader", "nvram", "firmware"])
DEVICES = frozenset({
    "emulator", "disk", "controller", "interface", "serial", "parallel", "console", "channel", "input", "graphics",
    "video", "sound", "memballoon", "rng", "watchdog", "panic", "hub", "audio", "tpm", "iommu", "memory",
})  # fmt: skip
EMULATOR = re.compile(r"/usr/(?:bin|libexec)/(?:qemu-system-[a-z0-9_]+|qemu-kvm|kvm)")
FIRMWARE = re.compile(r"/usr/share/(?:OVMF|AAVMF|ovmf|qemu|qemu-efi-aarch64|edk2|seabios)/[\w.-]+(?:/[\w.-]+)*")
NVRAM = re.compile(r"/var/lib/libvirt/qemu/nvram/[\w.-]+")
BRIDGE = re.compile(r"vmbr[1-9][0-9]{0,7}|brupstream")
"""A guest in the cluster or storage network would stand beside the store and Ceph."""
RANDOM = ("/dev/urandom", "/dev/random", "/dev/hwrng")
_SHOWN = 160
"""Characters of an element that a sentence shows; of a longer one it says the rest by its digest."""


def admin_only(root: Element) -> tuple[str, ...]:
    """What of the host it reaches beyond pools and networks, in words; empty for an ordinary VM."""
    found = [*_unknown(root, TOP, ""), *_os(root), *_disks(root), *_nics(root), *_devices(root)]
    for element in (root.find("resource"), root.find("memoryBacking/source"), root.find("sysinfo")):
        if element is not None and _own(element):
            found.append(f"<{element.tag}> with {', '.join(_own(element))} {_all(element)}".rstrip())
    found += [f"sysinfo {_all(entry)}" for entry in root.all("sysinfo/entry") if entry.get("file")]
    return tuple(dict.fromkeys(found))


def _own(element: Element) -> list[str]:
    match element.tag:
        case "resource":
            return [child.tag for child in element.children]
        case "source":
            return [] if element.get("type") in ("anonymous", "memfd") else [f"type {element.get('type')}"]
        case _:
            return [] if element.get("type", "smbios") == "smbios" else [f"type {element.get('type')}"]


def _unknown(parent: Element, known: frozenset[str], where: str) -> Iterator[str]:
    for child in parent.children:
        if child.tag not in known:
            yield f"<{where}{child.tag.rpartition(' ')[2]}> {_all(child)}".rstrip()


def _os(root: Element) -> Iterator[str]:
    for part in root.all("os"):
        yield from _unknown(part, OS, "os/")
    for loader in root.all("os/loader"):
        if loader.words() and not FIRMWARE.fullmatch(_plain(loader.words())):
            yield f"loader {loader.words()}"
        if loader.get("readonly") == "no":
            yield f"loader {loader.words()}, writable"
    for nvram in root.all("os/nvram"):
        template = nvram.get("template")
        if (nvram.words() and not NVRAM.fullmatch(_plain(nvram.words()))) or nvram.find("source") is not None:
            yield f"UEFI variables in {nvram.words() or 'a source of their own'} {_all(nvram)}".rstrip()
        if template and not FIRMWARE.fullmatch(_plain(template)):
            yield f"UEFI variables from {template}"


def _disks(root: Element) -> Iterator[str]:
    for disk in root.all("devices/disk"):
        target, source = disk.find("target"), disk.find("source")
        name = f"disk {target.get('dev') if target else '?'}"
        for tag in ("backingStore", "mirror", "transient"):
            for inner in disk.all(tag):
                if inner.children or inner.attrs:
                    yield f"{name}: <{tag}> {_all(inner)}"
        for word in ("rawio", "sgio"):
            if disk.get(word, "no") not in ("no", "filtered"):
                yield f"{name}: {word}={disk.get(word)}"
        if source is None:
            continue
        kind = disk.get("type", "file")
        if kind != "network" or source.get("protocol") != "rbd":
            yield f"{name}: {kind} {_all(source)}".rstrip()
        elif source.find("config") is not None or source.find("reservations") is not None:
            yield f"{name}: <source> with a file of the host {_all(source)}"


def _nics(root: Element) -> Iterator[str]:
    for nic in root.all("devices/interface"):
        source = nic.find("source")
        bridge = source.get("bridge") if source else ""
        if nic.get("type") != "bridge" or not BRIDGE.fullmatch(bridge):
            yield f"NIC of type {nic.get('type') or '?'} on {_all(source) or 'the host'}"
        for tag in ("script", "downscript", "backend", "actual"):
            for inner in nic.all(tag):
                yield f"NIC: <{tag}> {_all(inner)}".rstrip()


def _devices(root: Element) -> Iterator[str]:
    for part in root.all("devices"):
        yield from _unknown(part, DEVICES, "devices/")
        for device in part.children:
            yield from _device(device)
            for rom in device.all("rom"):
                if rom.get("file"):
                    yield f"{device.tag} with the ROM {rom.get('file')}"


def _device(device: Element) -> Iterator[str]:
    match device.tag:
        case "emulator":
            if not EMULATOR.fullmatch(device.words()):
                yield f"emulator {device.words()}"
        case "serial" | "parallel" | "console" | "channel":
            source, kind = device.find("source"), device.get("type", "pty")
            if kind not in ("pty", "null", "vc", "spicevmc", "qemu-vdagent") and not (
                kind == "unix" and not _named(source)
            ):
                yield f"{device.tag} of type {kind} {_all(source)}".rstrip()
            for log in device.all("log"):
                yield f"{device.tag} with a log file of its own {_all(log)}".rstrip()
        case "graphics":
            yield from _graphics(device)
        case "rng":
            for noise in device.all("backend"):
                if noise.get("model") == "random" and (noise.words() or RANDOM[0]) in RANDOM:
                    continue
                if noise.get("model") != "builtin":
                    yield f"random numbers from {_all(noise)}"
        case "tpm":
            backend = device.find("backend")
            if backend is None or backend.get("type") != "emulator" or backend.find("source") is not None:
                yield f"TPM of type {backend.get('type') if backend else 'unknown'} {_all(backend)}".rstrip()
        case "memory":
            if device.find("source/path") is not None or device.get("model", "dimm") not in ("dimm", "virtio-mem"):
                yield f"memory {_all(device)}"
        case "input" if device.get("type") in ("passthrough", "evdev"):
            yield f"host input device {_all(device.find('source'))}"
        case "audio" if device.get("type") != "none":
            yield f"audio of type {device.get('type')} {_all(device)}"
        case "video":
            yield from _video(device)


def _graphics(device: Element) -> Iterator[str]:
    kind = device.get("type")
    if kind not in ("vnc", "spice") or device.get("socket"):
        yield f"graphics of type {kind} {device.get('socket')}".rstrip()
    for listen in device.all("listen"):
        if listen.get("type") not in ("address", "none") or listen.get("socket"):
            yield f"graphics listening on {listen.get('type')} {_all(listen)}".rstrip()
    for gpu in device.all("gl"):
        yield f"graphics with a GPU of the host {_all(gpu)}".rstrip()


def _video(device: Element) -> Iterator[str]:
    for driver in device.all("driver"):
        if driver.get("name", "qemu") != "qemu":
            yield f"video by {_all(driver)}"
    for part in device.all("model/acceleration"):
        if part.get("rendernode"):
            yield f"video with a GPU of the host {part.get('rendernode')}"


def _named(element: Element | None) -> str:
    if element is None:
        return ""
    return " ".join(value for _, value in sorted(element.attrs.items()) if value)


def _all(element: Element | None) -> str:
    """What stands in it, down to the last attribute, in one form and not too long: of two elements that differ the
    texts differ.
    """
    text = _content(element) if element is not None else ""
    if len(text) <= _SHOWN:
        return text
    return f"{text[:_SHOWN]}... ({len(text)} characters, {hashlib.sha256(text.encode()).hexdigest()[:16]})"


def _content(element: Element) -> str:
    parts = [f"{key}={quoteattr(value)}" for key, value in sorted(element.attrs.items())]
    parts += [escape(element.words())] if element.words() else []
    parts += [f"<{child.tag}> {_content(child)}".rstrip() + f" </{child.tag}>" for child in element.children]
    return " ".join(parts)


def _plain(path: str) -> str:
    """ "" for a path that goes back: it is somewhere else than it begins."""
    return "" if "/../" in f"{path}/" or "/./" in path else path
