"""A compute plugin's pure half for these tests: reads the few elements of a definition that the wire shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import ascii_lowercase
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement
from xml.sax.saxutils import quoteattr

from pvc_core.contracts.compute import ComputeCapabilities, ComputeDefinitions, RenderRequest
from pvc_core.contracts.targets import Bridge, File
from pvc_core.errors import Exists, Invalid, NotFound
from pvc_core.model.vm import Description, DiskSpec, NicSpec
from pvc_core.units import MIB


class FakeDefinitions(ComputeDefinitions):
    capabilities = ComputeCapabilities(disk_sources=(File,), nic_targets=(Bridge,), writes_devices=True)

    def describe(self, definition: str) -> Description:
        root = self._parsed(definition)
        name = root.findtext("name")
        if not name:
            raise Invalid("the definition has no <name>", fields={"xml": "no <name>"})
        memory, vcpus = root.findtext("memory") or "0", root.findtext("vcpu") or "0"
        if not memory.isdigit() or not vcpus.isdigit():
            raise Invalid("<memory> or <vcpu> is no number", fields={"xml": "no number"})
        return Description(
            name=name,
            uuid=root.findtext("uuid"),
            memory_bytes=int(memory) * MIB,
            vcpus=int(vcpus),
            description=root.findtext("description") or "",
            vcpu_topology="1/2/1",
            arch="x86_64",
            machine="q35",
            console="pty",
            vnc_listen="0.0.0.0",
            vnc_port="-1",
            emulator="/usr/bin/kvm",
            features=("acpi",),
            nics=tuple(self._nic(one) for one in root.findall("nic")),
            disks=tuple(self._disk(one) for one in root.findall("disk")),
            controllers=(("usb", None), ("pci", "pci-root")),
            outside=tuple(one.get("what", "") for one in root.findall("outside")),
        )

    def describe_device(self, device: str) -> DiskSpec | NicSpec:
        root = self._parsed(device)
        if root.tag not in ("nic", "disk"):
            raise Invalid(f"<{root.tag}> is no device", fields={"xml": "no device"})
        return self._nic(root) if root.tag == "nic" else self._disk(root)

    def with_identity(self, definition: str, *, name: str, uuid: str) -> str:
        root = self._parsed(definition)
        for tag, value in (("name", name), ("uuid", uuid)):
            found = root.find(tag)
            (found if found is not None else SubElement(root, tag)).text = value
        return ElementTree.tostring(root, encoding="unicode")

    def _parsed(self, text: str) -> Element:
        try:
            return ElementTree.fromstring(text.encode())
        except (ElementTree.ParseError, ValueError) as error:
            raise Invalid(f"the definition is not well-formed XML: {error}", fields={"xml": "malformed"}) from None

    def _nic(self, one: Element) -> NicSpec:
        return NicSpec(
            kind="bridge",
            mac=one.get("mac", ""),
            source=one.get("source", ""),
            model="virtio",
            network=one.get("network"),
        )

    def _disk(self, one: Element) -> DiskSpec:
        return DiskSpec(dev=one.get("dev", ""), bus="scsi", kind="network", volume=one.get("volume"))

    def with_volume_renamed(self, definition: str, *, old: str, new: str) -> str:
        return definition.replace(f'"{old}"', f'"{new}"')

    def with_vcpus(self, definition: str, vcpus: int) -> str:
        return re.sub("<vcpu>.*?</vcpu>", f"<vcpu>{vcpus}</vcpu>", definition)

    def with_topology(self, definition: str, *, sockets: int, cores: int, threads: int) -> str:
        return self.with_vcpus(definition, sockets * cores * threads)

    def with_memory(self, definition: str, memory_bytes: int) -> str:
        return re.sub("<memory>.*?</memory>", f"<memory>{memory_bytes // MIB}</memory>", definition)

    def with_device(self, definition: str, device: str) -> str:
        return definition.replace("</domain>", f"{device}</domain>")

    def without_device(self, definition: str, device: str) -> str:
        root, gone = self._parsed(definition), self._parsed(device)
        for one in [one for one in root if (one.tag, one.attrib) == (gone.tag, gone.attrib)]:
            root.remove(one)
        return ElementTree.tostring(root, encoding="unicode")

    def new_disk(self, definition: str, source: str, *, bus: str = "scsi", dev: str = "") -> str:
        taken = {disk.dev for disk in self.describe(definition).disks}
        dev = dev or next(f"sd{letter}" for letter in ascii_lowercase if f"sd{letter}" not in taken)
        if dev in taken:
            raise Exists(f"{dev} is taken")
        kind = "outside what" if source.startswith("/") else "disk volume"
        return f"<{kind}={quoteattr(source)} dev={quoteattr(dev)}/>"

    def new_nic(
        self, *, mac: str, model: str, network: str = "", function: str = "", pci: Mapping[str, str] | None = None
    ) -> str:
        source = f"vmbr{network}" if network else f"{function} {pci or ''}"
        word = f" network={quoteattr(network)}" if network else ""
        return f"<nic mac={quoteattr(mac)} source={quoteattr(source)}{word}/>"

    def device(self, definition: str, name: str) -> str:
        for one in self._parsed(definition):
            if one.tag in ("nic", "disk") and name in one.attrib.values():
                one.tail = None
                return ElementTree.tostring(one, encoding="unicode")
        raise NotFound(f"there is no device {name!r}")

    def diff(self, old: str, new: str) -> list[str]:
        return []

    def render(self, request: RenderRequest) -> str:
        return request.definition


def definition(name: str = "web1", *, uuid: str = "", memory_mib: int = 2048, disk: str = "", more: str = "") -> str:
    """The text of a VM as FakeDefinitions reads it."""
    parts = [
        f"<name>{name}</name>",
        f"<uuid>{uuid}</uuid>" if uuid else "",
        f"<memory>{memory_mib}</memory><vcpu>2</vcpu>",
    ]
    parts.append(f'<disk dev="sda" volume="{disk}"/>' if disk else "")
    return f"<domain><description>bench</description>{''.join(parts)}{more}</domain>"
