"""A VM on the wire. Counters of a guest that does not run are zeros."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pvc_core.model.vm import Description, DiskSpec, NicSpec, Tag
from pvc_core.services.pictures import VmPicture
from pvc_core.units import MIB

MEMORY_STATS = (
    "actual", "swap_in", "swap_out", "major_fault", "minor_fault", "unused", "available", "usable", "last_update",
    "disk_caches", "hugetlb_pgalloc", "hugetlb_pgfail", "rss",
)  # fmt: skip
NIC_STATS = (
    "rd_bytes", "rd_packets", "rd_errors", "rd_drops", "wr_bytes", "wr_packets", "wr_errors", "wr_drops",
)  # fmt: skip
DISK_STATS = ("rd_req", "rd_bytes", "wr_req", "wr_bytes")

_encoder = msgspec.json.Encoder()


def encoded_vm(vm: VmPicture) -> bytes:
    return _encoder.encode(vm_body(vm))


def vm_etag(vm: VmPicture) -> str:
    """What is wanted, then what was seen. If-Match compares the first part: what a guest does is no change of it."""
    return f'"{vm.stamp[0]:x}-{vm.stamp[1]:x}.{vm.stamp[2]:x}"'


def vm_body(vm: VmPicture) -> dict[str, Any]:
    wanted, what, stats = vm.wanted, vm.description, vm.stats or {}
    return {
        "name": wanted.name,
        "uuid": wanted.uuid,
        "state": vm.state,
        "node": vm.node,
        "last_node": vm.last_node,
        "migrated": "yes" if vm.last_node else "no",
        "failed_reason": vm.seen.failed_reason if vm.seen and vm.state == "fail" else "",
        "node_limit": list(wanted.node_limit) or None,
        "node_selector": wanted.node_selector,
        "priority": wanted.priority,
        "node_autostart": wanted.autostart,
        "migration_method": wanted.migration_method,
        "migration_max_downtime": wanted.migration_max_downtime_ms,
        "tags": [tag_body(tag) for tag in wanted.tags],
        "snapshots": [],
        "description": what.description,
        "profile": wanted.profile,
        "memory": what.memory_bytes // MIB,
        "memory_stats": _counters(stats.get("memory"), MEMORY_STATS),
        "vcpu": what.vcpus,
        "vcpu_topology": what.vcpu_topology or "1/1/1",
        "vcpu_stats": {name: stats.get(f"{name}_ns", 0) for name in ("cpu_time", "user_time", "system_time")},
        "networks": [_nic(nic, _stats_of(stats, "nics", nic.mac)) for nic in what.nics],
        "type": what.type,
        "arch": what.arch,
        "machine": what.machine,
        "console": what.console,
        "vnc": _vnc(vm, what),
        "emulator": what.emulator,
        "features": list(what.features),
        "disks": [_disk(disk, _stats_of(stats, "disks", disk.dev)) for disk in what.disks],
        "controllers": [{"type": kind, "model": model} for kind, model in what.controllers],
        "xml": wanted.definition,
        "status": vm.sentence,
    }


def tag_body(tag: Tag) -> dict[str, Any]:
    return {"name": tag.name, "type": tag.type, "protected": tag.protected}


def meta_body(vm: VmPicture) -> dict[str, Any]:
    """As in the list, but for "True" and "False", which the wire has as text here."""
    wanted = vm.wanted
    return {
        "name": wanted.name,
        "node_limit": list(wanted.node_limit) or None,
        "node_selector": wanted.node_selector,
        "priority": wanted.priority,
        "node_autostart": str(wanted.autostart),
        "migration_method": wanted.migration_method,
        "migration_max_downtime": wanted.migration_max_downtime_ms,
        "profile": wanted.profile,
        "status": vm.sentence,
    }


def _vnc(vm: VmPicture, what: Description) -> dict[str, str]:
    if vm.runs and vm.seen and vm.seen.vnc_port:
        return {"listen": vm.seen.vnc_listen, "port": str(vm.seen.vnc_port)}
    return {"listen": what.vnc_listen, "port": what.vnc_port}


def _nic(nic: NicSpec, counters: Mapping[str, Any]) -> dict[str, Any]:
    words = {"type": nic.kind, "vni": nic.network or "", "mac": nic.mac, "source": nic.source, "model": nic.model}
    return {**words, **_counters(counters, NIC_STATS)}


def _disk(disk: DiskSpec, counters: Mapping[str, Any]) -> dict[str, Any]:
    """ "rbd" is the wire's word for a volume of any pool."""
    kind, name = ("rbd", disk.volume) if disk.volume else (disk.kind, disk.path or "")
    return {"type": kind, "name": name, "dev": disk.dev, "bus": disk.bus, **_counters(counters, DISK_STATS)}


def _stats_of(stats: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    return (stats.get(kind) or {}).get(name) or {}


def _counters(found: Any, names: tuple[str, ...]) -> dict[str, Any]:
    found = found or {}
    return {name: found.get(name, 0) for name in names}
