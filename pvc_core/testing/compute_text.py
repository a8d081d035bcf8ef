# SPDX-License-Identifier: LGPL-3.0-or-later
"""The definitions half of the compute fake: a small XML language, read with the standard library only.

    <domain><name>web1</name><uuid>...</uuid><memory>64</memory><vcpu>1</vcpu>
      <disk dev="vda" volume="vms/web1"/><nic mac="52:54:00:00:00:01" network="upstream"/>
    </domain>

Memory in MiB. `<boot fails="why"/>` makes a definition that no hypervisor starts.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from string import ascii_lowercase
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.sax.saxutils import quoteattr

from pvc_core.contracts.compute import ComputeCapabilities, ComputeDefinitions, RenderRequest
from pvc_core.contracts.targets import Bridge, File
from pvc_core.errors import Exists, Invalid, NotFound
from pvc_core.model.vm import Description, DiskSpec, NicSpec
from pvc_core.units import MIB

TEXT_MAX = 1_000_000
CAPABILITIES = ComputeCapabilities(
    disk_sources=(File,),
    nic_targets=(Bridge,),
    live_migration=True,
    hotplug_disks=True,
    hotplug_nics=True,
    online_resize=True,
    console=True,
    writes_devices=True,
)


class FakeComputeDefinitions(ComputeDefinitions):
    def __init__(self, capabilities: ComputeCapabilities = CAPABILITIES) -> None:
        self.capabilities = capabilities

    def describe(self, definition: str) -> Description:
        root = _root(definition)
        return Description(
            name=_text(root, "name"),
            uuid=root.findtext("uuid") or None,
            memory_bytes=_number(root, "memory") * MIB,
            vcpus=_number(root, "vcpu"),
            disks=tuple(_disk(item) for item in root.findall("disk")),
            nics=tuple(_nic(item) for item in root.findall("nic")),
        )

    def describe_device(self, device: str) -> DiskSpec | NicSpec:
        item = _parsed(device)
        if item.tag not in ("disk", "nic"):
            raise Invalid(f"<{item.tag}> is neither a <disk> nor a <nic>")
        return _disk(item) if item.tag == "disk" else _nic(item)

    def with_identity(self, definition: str, *, name: str, uuid: str) -> str:
        self.describe(definition)
        text = re.sub(r"<name>[^<]*</name>", f"<name>{name}</name>", definition, count=1)
        if "<uuid>" in text:
            return re.sub(r"<uuid>[^<]*</uuid>", f"<uuid>{uuid}</uuid>", text, count=1)
        return text.replace("</name>", f"</name><uuid>{uuid}</uuid>", 1)

    def with_volume_renamed(self, definition: str, *, old: str, new: str) -> str:
        return definition.replace(f'volume="{old}"', f'volume="{new}"')

    def with_vcpus(self, definition: str, vcpus: int) -> str:
        return re.sub(r"<vcpu>[^<]*</vcpu>", f"<vcpu>{vcpus}</vcpu>", definition, count=1)

    def with_memory(self, definition: str, memory_bytes: int) -> str:
        return re.sub(r"<memory>[^<]*</memory>", f"<memory>{memory_bytes // MIB}</memory>", definition, count=1)

    def with_device(self, definition: str, device: str) -> str:
        new, now = self.describe_device(device), self.describe(definition)
        taken = {disk.dev for disk in now.disks} | {nic.mac for nic in now.nics}
        if _id(new) in taken:
            raise Exists(f"{_id(new)} is taken")
        return definition.replace("</domain>", f"{device.strip()}</domain>")

    def without_device(self, definition: str, device: str) -> str:
        gone = _id(self.describe_device(device))
        root = _root(definition)
        for item in [*root.findall("disk"), *root.findall("nic")]:
            if gone in (item.get("dev"), item.get("mac")):
                root.remove(item)
                return ElementTree.tostring(root, encoding="unicode")
        raise NotFound(f"there is no device {gone}")

    def with_topology(self, definition: str, *, sockets: int, cores: int, threads: int) -> str:
        """This language knows no layout."""
        return self.with_vcpus(definition, sockets * cores * threads)

    def new_disk(self, definition: str, source: str, *, bus: str = "scsi", dev: str = "") -> str:
        disks = self.describe(definition).disks
        taken = {disk.dev for disk in disks}
        if dev in taken or any(source in (disk.volume, disk.path) for disk in disks):
            raise Exists(f"{dev or source} is taken")
        dev = dev or next(name for name in (f"vd{letter}" for letter in ascii_lowercase) if name not in taken)
        return f"<disk dev={quoteattr(dev)} {'path' if source.startswith('/') else 'volume'}={quoteattr(source)}/>"

    def new_nic(
        self, *, mac: str, model: str, network: str = "", function: str = "", pci: Mapping[str, str] | None = None
    ) -> str:
        return f"<nic mac={quoteattr(mac)} network={quoteattr(network or function)}/>"

    def device(self, definition: str, name: str) -> str:
        for item in _root(definition):
            known = (item.get("dev"), item.get("volume"), item.get("path"), item.get("mac"))
            if item.tag in ("disk", "nic") and name in known:
                item.tail = None
                return ElementTree.tostring(item, encoding="unicode")
        raise NotFound(f"there is no disk or NIC {name!r}")

    def diff(self, old: str, new: str) -> list[str]:
        return list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=2))[2:]

    def render(self, request: RenderRequest) -> str:
        for disk in self.describe(request.definition).disks:
            if disk.volume and disk.dev not in request.disks:
                raise Invalid(f"nobody says where volume {disk.volume} is")
        for nic in self.describe(request.definition).nics:
            if nic.network and nic.mac not in request.nics:
                raise Invalid(f"nobody says where network {nic.network} is")
        return self.with_identity(request.definition, name=request.name, uuid=request.uuid)


def _root(definition: str) -> Element:
    root = _parsed(definition)
    if root.tag != "domain":
        raise Invalid(f"<{root.tag}> is not a <domain>", fields={"xml": "no domain"})
    return root


def _parsed(text: str) -> Element:
    if len(text) > TEXT_MAX:
        raise Invalid(f"the definition has {len(text)} characters", help=f"at most {TEXT_MAX} are taken")
    if "<!" in text:
        raise Invalid("a definition may have no document type", fields={"xml": "document type"})
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise Invalid(f"the definition is not well-formed XML: {error}", fields={"xml": str(error)}) from None


def _text(root: Element, name: str) -> str:
    found = root.findtext(name)
    if not found:
        raise Invalid(f"<{name}> is missing", fields={"xml": f"no <{name}>"})
    return found


def _number(root: Element, name: str) -> int:
    text = _text(root, name)
    if not re.fullmatch(r"\d{1,9}", text):
        raise Invalid(f"<{name}> is {text!r}, which is no whole number", fields={"xml": name})
    return int(text)


def _disk(item: Element) -> DiskSpec:
    if not item.get("dev"):
        raise Invalid("a <disk> has no dev")
    volume = item.get("volume")
    return DiskSpec(
        dev=item.get("dev", ""),
        bus="virtio",
        kind="rbd" if volume else "file",
        volume=volume,
        path=item.get("path"),
        read_only=item.get("readonly") == "yes",
    )


def _nic(item: Element) -> NicSpec:
    if not item.get("mac"):
        raise Invalid("a <nic> has no mac")
    return NicSpec(kind="bridge", mac=item.get("mac", ""), source=item.get("network", ""), network=item.get("network"))


def _id(device: DiskSpec | NicSpec) -> str:
    return device.dev if isinstance(device, DiskSpec) else device.mac
