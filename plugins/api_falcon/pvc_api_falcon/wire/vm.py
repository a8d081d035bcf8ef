"""A VM on the wire. Counters of a guest that does not run are zeros."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict, cast

import msgspec
from msgspec import Meta

from pvc_api_falcon.wire.common import Bytes, Message, Mib, Nanoseconds, Object
from pvc_core.model.vm import Description, DiskSpec, MigrationMethod, NicSpec, Selector, Tag, VmSeen
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
VCPU_STATS = ("cpu_time", "user_time", "system_time")

_encoder = msgspec.json.Encoder()


class TagBody(TypedDict):
    name: str
    type: str
    protected: Annotated[bool, Meta(description="it is removed only on purpose")]


class SnapshotOfVm(TypedDict):
    name: str
    timestamp: str
    age: int
    xml_diff_lines: list[str]
    rbd_snapshots: list[str]


class MemoryStats(TypedDict):
    """As the guest's balloon tells, in KiB; zeros while it does not run."""

    actual: int
    swap_in: int
    swap_out: int
    major_fault: int
    minor_fault: int
    unused: int
    available: int
    usable: int
    last_update: int
    disk_caches: int
    hugetlb_pgalloc: int
    hugetlb_pgfail: int
    rss: int


class VcpuStats(TypedDict):
    cpu_time: Nanoseconds
    user_time: Nanoseconds
    system_time: Nanoseconds


class NicBody(TypedDict):
    type: str
    vni: Annotated[str, Meta(description='the network; "" for a card on none of ours')]
    mac: str
    source: str
    model: str
    rd_bytes: int
    rd_packets: int
    rd_errors: int
    rd_drops: int
    wr_bytes: int
    wr_packets: int
    wr_errors: int
    wr_drops: int


class DiskBody(TypedDict):
    type: Annotated[str, Meta(description='"rbd" for a volume of any pool, else libvirt\'s word')]
    name: Annotated[str, Meta(description="POOL/VOLUME, or a path")]
    dev: str
    bus: str
    rd_req: int
    rd_bytes: Bytes
    wr_req: int
    wr_bytes: Bytes


class ControllerBody(TypedDict):
    type: str
    model: str | None


class VncBody(TypedDict):
    listen: str
    port: str


class AnewBody(TypedDict):
    at_s: Annotated[float, Meta(description="seconds since 1970")]
    why: str


class VmBody(Object):
    """A virtual machine. Counters of a guest that does not run are zeros."""

    name: str
    uuid: str
    state: Annotated[str, Meta(description="start, stop, shutdown, restart, disable, migrate, fail, delete, ...")]
    node: Annotated[str, Meta(description='where it runs or belongs; "" before a node has taken it')]
    last_node: Annotated[str, Meta(description='where it was migrated from; "" when it lives where it belongs')]
    migrated: Annotated[str, Meta(description="yes or no")]
    failed_reason: str
    begun_anew: Annotated[AnewBody | None, Meta(description="when and why last, unasked: a lost node, a crash")]
    node_limit: Annotated[list[str] | None, Meta(description="it runs only on these; null: on any")]
    node_selector: Selector | None
    priority: int | None
    node_autostart: bool
    migration_method: MigrationMethod | None
    migration_max_downtime: Annotated[int | None, Meta(description="in ms")]
    tags: list[TagBody]
    snapshots: list[SnapshotOfVm]
    description: str
    profile: str | None
    memory: Mib
    memory_stats: MemoryStats
    vcpu: int
    vcpu_topology: Annotated[str, Meta(description="sockets/cores/threads")]
    vcpu_stats: VcpuStats
    networks: list[NicBody]
    type: str
    arch: str
    machine: str
    console: str
    vnc: VncBody
    emulator: str
    features: list[str]
    disks: list[DiskBody]
    controllers: list[ControllerBody]
    xml: Annotated[str, Meta(description="the definition, byte for byte as it was given")]


class MetaBody(Object):
    name: str
    node_limit: list[str] | None
    node_selector: Selector | None
    priority: int | None
    node_autostart: Annotated[str, Meta(description='"True" or "False", as text')]
    migration_method: MigrationMethod | None
    migration_max_downtime: Annotated[int | None, Meta(description="in ms")]
    profile: str | None


class TagsBody(Object):
    name: str
    tags: list[TagBody]


Asked = Annotated[
    int, Meta(description="requests about its state or place so far: who lost an answer sees if it was taken")
]


class StateBody(Object):
    name: str
    state: str
    asked: Asked


class PlaceBody(Object):
    name: str
    node: str
    last_node: str
    asked: Asked
    answered: Annotated[bool, Meta(description="the last request to move was met or given up")]
    not_moved: Annotated[str, Meta(description='why it was given up; "" when it was met')]


class TicketBody(TypedDict):
    message: str
    ticket: str
    path: str
    """Below the API's address: what the websocket is opened with."""
    valid_s: int
    may_type: bool


class TextBody(TypedDict):
    """Lines of a log or a console, with line feeds between."""

    name: str
    data: str


class VmTold(Message, Object):
    """What a change of a VM's state is answered with."""

    state: str


class HardwareTold(Message):
    """What a change of a VM's hardware is answered with."""

    device: Annotated[str, Meta(description='the text of the disk or NIC that came or went, else ""')]


def encoded_vm(vm: VmPicture) -> bytes:
    return _encoder.encode(vm_body(vm))


def vm_etag(vm: VmPicture) -> str:
    """What is wanted, then what was seen. If-Match compares the first part: what a guest does is no change of it."""
    return f'"{vm.stamp[0]:x}-{vm.stamp[1]:x}.{vm.stamp[2]:x}"'


def vm_body(vm: VmPicture) -> VmBody:
    wanted, what, stats = vm.wanted, vm.description, vm.stats or {}
    return {
        "name": wanted.name,
        "uuid": wanted.uuid,
        "state": vm.state,
        "node": vm.node,
        "last_node": vm.last_node,
        "migrated": "yes" if vm.last_node else "no",
        "failed_reason": vm.seen.failed_reason if vm.seen and vm.state == "fail" else "",
        "begun_anew": _anew(vm.seen),
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
        "memory_stats": cast(MemoryStats, _counters(stats.get("memory"), MEMORY_STATS)),
        "vcpu": what.vcpus,
        "vcpu_topology": what.vcpu_topology or "1/1/1",
        "vcpu_stats": cast(VcpuStats, _counters(stats, VCPU_STATS, suffix="_ns")),
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


def tag_body(tag: Tag) -> TagBody:
    return {"name": tag.name, "type": tag.type, "protected": tag.protected}


def meta_body(vm: VmPicture) -> MetaBody:
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


def _anew(seen: VmSeen | None) -> AnewBody | None:
    return {"at_s": seen.anew_at_s, "why": seen.anew_why} if seen is not None and seen.anew_why else None


def _vnc(vm: VmPicture, what: Description) -> VncBody:
    if vm.runs and vm.seen and vm.seen.vnc_port:
        return {"listen": vm.seen.vnc_listen, "port": str(vm.seen.vnc_port)}
    return {"listen": what.vnc_listen, "port": what.vnc_port}


def _nic(nic: NicSpec, counters: Mapping[str, Any]) -> NicBody:
    words = {"type": nic.kind, "vni": nic.network or "", "mac": nic.mac, "source": nic.source, "model": nic.model}
    return cast(NicBody, {**words, **_counters(counters, NIC_STATS)})


def _disk(disk: DiskSpec, counters: Mapping[str, Any]) -> DiskBody:
    """ "rbd" is the wire's word for a volume of any pool."""
    kind, name = ("rbd", disk.volume) if disk.volume else (disk.kind, disk.path or "")
    words = {"type": kind, "name": name, "dev": disk.dev, "bus": disk.bus}
    return cast(DiskBody, {**words, **_counters(counters, DISK_STATS)})


def _stats_of(stats: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    return (stats.get(kind) or {}).get(name) or {}


def _counters(found: Any, names: tuple[str, ...], *, suffix: str = "") -> dict[str, Any]:
    found = found or {}
    return {name: found.get(name + suffix, 0) for name in names}
