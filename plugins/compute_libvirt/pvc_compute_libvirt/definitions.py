"""The definitions half of compute_libvirt: pure functions on libvirt's domain XML, imported in every process."""

from __future__ import annotations

from collections.abc import Mapping

from pvc_compute_libvirt import describe, edit, making, render
from pvc_compute_libvirt.devices import DISK_SOURCES, NIC_TARGETS
from pvc_core.contracts.compute import ComputeCapabilities, ComputeDefinitions, RenderRequest
from pvc_core.model.vm import Description, DiskSpec, NicSpec


class LibvirtDefinitions(ComputeDefinitions):
    """Each raises Invalid for a text it cannot take; see the modules it forwards to for what each does."""

    capabilities = ComputeCapabilities(
        disk_sources=DISK_SOURCES,
        nic_targets=NIC_TARGETS,
        live_migration=True,
        hotplug_disks=True,
        hotplug_nics=True,
        online_resize=True,
        console=True,
        vnc=True,
        writes_devices=True,
    )

    def describe(self, definition: str) -> Description:
        return describe.describe(definition)

    def describe_device(self, device: str) -> DiskSpec | NicSpec:
        return describe.describe_device(device)

    def with_identity(self, definition: str, *, name: str, uuid: str) -> str:
        return edit.with_identity(definition, name=name, uuid=uuid)

    def with_volume_renamed(self, definition: str, *, old: str, new: str) -> str:
        return edit.with_volume_renamed(definition, old=old, new=new)

    def with_vcpus(self, definition: str, vcpus: int) -> str:
        return edit.with_vcpus(definition, vcpus)

    def with_memory(self, definition: str, memory_bytes: int) -> str:
        return edit.with_memory(definition, memory_bytes)

    def with_device(self, definition: str, device: str) -> str:
        return edit.with_device(definition, device)

    def without_device(self, definition: str, device: str) -> str:
        return edit.without_device(definition, device)

    def with_topology(self, definition: str, *, sockets: int, cores: int, threads: int) -> str:
        return making.with_topology(definition, sockets=sockets, cores=cores, threads=threads)

    def new_disk(self, definition: str, source: str, *, bus: str = "scsi", dev: str = "") -> str:
        return making.new_disk(definition, source, bus=bus, dev=dev)

    def new_nic(
        self, *, mac: str, model: str, network: str = "", function: str = "", pci: Mapping[str, str] | None = None
    ) -> str:
        return making.new_nic(mac=mac, model=model, network=network, function=function, pci=pci)

    def device(self, definition: str, name: str) -> str:
        return making.device(definition, name)

    def diff(self, old: str, new: str) -> list[str]:
        return edit.diff(old, new)

    def render(self, request: RenderRequest) -> str:
        return render.render(request)
