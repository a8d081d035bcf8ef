"""The whole cluster on the wire: GET /status. Its health is what its faults say, and what nodes and VMs say that is no
fault on record yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from pvc_api_falcon.wire.common import Kib, Mib, Object, Percent
from pvc_api_falcon.wire.fault import FaultBody, fault_body
from pvc_api_falcon.wire.node import load_of, memory_mib
from pvc_core import __version__
from pvc_core.model.cluster import Settings
from pvc_core.model.fault import Fault
from pvc_core.model.node import DaemonState
from pvc_core.services import Services
from pvc_core.services.pictures import NodePicture, PoolPicture, VmTally
from pvc_core.units import KIB

DEAD_NODE, FAILED_VM = 50, 10
"""What each costs the cluster's health, as PVC always counted."""


class TroubleBody(TypedDict):
    id: str
    health_delta: int
    text: str


class ClusterHealthBody(TypedDict):
    health: Annotated[int, Meta(description="0 to 100")]
    messages: list[TroubleBody]


class MaintenanceBody(TypedDict, total=False):
    """Empty while it is off."""

    asked_by: str
    since: Annotated[int, Meta(description="seconds since 1970")]
    reason: str
    left_s: Annotated[int, Meta(description="until it ends by itself; 0: it does not")]


class MemoryResources(TypedDict):
    total: Mib
    free: Mib
    used: Mib
    allocated: Mib
    provisioned: Mib
    utilization: Percent


class CpuResources(TypedDict):
    total: int
    load: float
    allocated: int
    utilization: Percent


class DiskResources(TypedDict):
    total: Kib
    used: Kib
    free: Kib
    utilization: Percent


class Resources(TypedDict):
    memory: MemoryResources
    cpu: CpuResources
    disk: DiskResources


class NodeDetail(TypedDict):
    name: str
    daemon_state: str
    domain_state: str


class VmDetail(TypedDict):
    uuid: str
    name: str
    state: str


OsdDetail = TypedDict("OsdDetail", {"id": str, "up": str, "in": str})


class Detail(TypedDict):
    node: list[NodeDetail]
    vm: list[VmDetail]
    osd: list[OsdDetail]
    faults: list[FaultBody]


class StatusBody(Object):
    """The cluster. Its `status` is empty while there is nothing to say."""

    cluster_name: str
    cluster_health: ClusterHealthBody
    node_health: Annotated[dict[str, ClusterHealthBody], Meta(description="by node")]
    maintenance: Annotated[str, Meta(description='"true" or "false", as text')]
    maintenance_detail: MaintenanceBody
    primary_node: Annotated[str, Meta(description='"" while there is none')]
    pvc_version: str
    upstream_ip: str
    nodes: Annotated[dict[str, int], Meta(description="`total`, then by daemon state and domain state, like run,ready")]
    vms: Annotated[dict[str, int], Meta(description="`total`, then by state")]
    networks: int
    osds: Annotated[dict[str, int], Meta(description="`total`, then by state, like up,in")]
    pools: int
    volumes: int
    snapshots: int
    resources: Resources
    detail: Detail


class HealthReport(Object):
    """Whether this API can answer truly."""

    ready: bool
    primary_node: str


class PrimaryBody(TypedDict):
    primary_node: str


class MoveBody(TypedDict):
    name: str
    uuid: str
    source: str
    target: str
    why: str


class CheckLineBody(TypedDict):
    topic: str
    text: str
    ok: bool
    remedy: Annotated[str, Meta(description='what helps; "" where all is well')]
    node: Annotated[str, Meta(description='where it was seen; "" for the cluster')]
    same: str


class CheckBody(Object):
    ok: bool
    lines: list[CheckLineBody]


class BackupBody(TypedDict):
    """A backup: keep it as it is, /restore takes it whole. docs/backup.md has what is in it."""


def status_body(services: Services) -> StatusBody:
    nodes, vms, pools = services.nodes.list(), services.vms.tally(), services.storage.pools()
    (volumes, snapshots), osds = services.storage.counts(), [_osd(osd) for osd in services.storage.osds()]
    faults = services.faults.list()
    troubles = _told(faults, _troubles(nodes, vms))
    if sentence := services.cluster.maintenance_sentence:
        troubles.insert(0, _trouble("MAINTENANCE", 0, sentence))
    return {
        "cluster_name": services.cluster.name,
        "cluster_health": {
            "health": max(0, 100 - sum(item["health_delta"] for item in troubles)),
            "messages": troubles,
        },
        "node_health": {node.seen.name: {"health": node.health, "messages": _messages(node)} for node in nodes},
        "maintenance": "true" if services.cluster.maintenance else "false",
        "maintenance_detail": _maintenance(services.cluster.settings),
        "primary_node": services.cluster.primary,
        "pvc_version": __version__,
        "upstream_ip": services.cluster.upstream_floating,
        "nodes": _counted(f"{node.seen.daemon_state},{node.seen.domain_state}" for node in nodes),
        "vms": {"total": len(vms.vms), **vms.counts},
        "networks": len(services.networks.list(None)),
        "osds": _counted(f"{osd['up']},{osd['in']}" for osd in osds),
        "pools": len(pools),
        "volumes": volumes,
        "snapshots": snapshots,
        "resources": _resources(nodes, pools),
        "detail": _detail(nodes, vms, osds, faults),
        "status": _sentence(services),
    }


def _maintenance(settings: Settings) -> MaintenanceBody:
    """Who asked, when, why, and for how long still; empty while it is off."""
    if not settings.maintenance:
        return {}
    return {
        "asked_by": settings.asked_by,
        "since": int(settings.maintenance_since_s),
        "reason": settings.maintenance_reason,
        "left_s": int(settings.maintenance_left_s),
    }


def _sentence(services: Services) -> str:
    if not services.cluster.fresh:
        return "the store gives no answer; this is how things were"
    if not services.cluster.primary:
        return "no node is primary"
    return services.cluster.maintenance_sentence


def _troubles(nodes: list[NodePicture], vms: VmTally) -> list[TroubleBody]:
    found = []
    for node in nodes:
        name = node.seen.name
        if node.seen.daemon_state in (DaemonState.DEAD, DaemonState.FENCED):
            found.append(_trouble(f"DEAD_NODE_{name.upper()}", DEAD_NODE, f"node {name} is {node.seen.daemon_state}"))
        for item in node.seen.health:
            if item.delta:
                id = f"NODE_PLUGIN_{item.plugin.upper()}_{name.upper()}"
                found.append(_trouble(id, item.delta // 2, f"{name}: {item.message}"))
    return found + [
        _trouble(f"VM_FAILED_{vm.wanted.name.upper()}", FAILED_VM, f"VM {vm.wanted.name} has failed: {vm.sentence}")
        for vm in (vms.vms if vms.counts.get("fail") else ())
        if vms.states[vm.wanted.uuid] == "fail"
    ]


def _told(faults: list[Fault], live: list[TroubleBody]) -> list[TroubleBody]:
    """The record, with its acknowledgement, instead of what is only seen."""
    known = {fault.id for fault in faults}
    shown = [_trouble(fault.id, fault.counts, fault.message) for fault in faults]
    return shown + [item for item in live if item["id"] not in known]


def _trouble(id: str, delta: int, text: str) -> TroubleBody:
    return {"id": id, "health_delta": delta, "text": text}


def _messages(node: NodePicture) -> list[TroubleBody]:
    return [_trouble(item.plugin, item.delta, item.message) for item in node.seen.health if item.delta]


def _counted(words: Iterable[str]) -> dict[str, int]:
    counts = Counter(words)
    return {"total": counts.total(), **counts}


def _resources(nodes: list[NodePicture], pools: list[PoolPicture]) -> Resources:
    total, used, free = (sum(column) for column in zip(*map(memory_mib, nodes), strict=True)) if nodes else (0, 0, 0)
    cpus, load = sum(node.seen.cpu_count for node in nodes), sum(load_of(node) for node in nodes)
    usages = [pool.usage for pool in pools if pool.usage]
    disk_total, disk_used = sum(usage.total_bytes for usage in usages), sum(usage.used_bytes for usage in usages)
    allocated, provisioned = (sum(column) for column in zip(*map(_given, nodes), strict=True)) if nodes else (0, 0)
    return {
        "memory": {
            "total": total, "free": free, "used": used, "allocated": allocated // KIB // KIB,
            "provisioned": provisioned // KIB // KIB, "utilization": _percent(used, total),
        },
        "cpu": {
            "total": cpus, "load": load, "allocated": sum(node.load.vcpus for node in nodes),
            "utilization": _percent(load, cpus),
        },
        # In KiB, as the wire always had it from Ceph.
        "disk": {
            "total": disk_total // KIB, "used": disk_used // KIB,
            "free": sum(usage.free_bytes for usage in usages) // KIB, "utilization": _percent(disk_used, disk_total),
        },
    }  # fmt: skip


def _given(node: NodePicture) -> tuple[int, int]:
    return node.load.allocated_bytes, node.load.provisioned_bytes


def _percent(part: float, whole: float) -> float:
    return round(part / whole * 100, 2) if whole else 0.0


def _osd(osd: dict[str, Any]) -> OsdDetail:
    stats = osd["stats"]
    return {"id": str(osd["id"]), "up": "up" if stats["up"] else "down", "in": "in" if stats["in"] else "out"}


def _detail(nodes: list[NodePicture], vms: VmTally, osds: list[OsdDetail], faults: list[Fault]) -> Detail:
    return {
        "node": [
            {"name": node.seen.name, "daemon_state": node.seen.daemon_state, "domain_state": node.seen.domain_state}
            for node in nodes
        ],
        "vm": [{"uuid": vm.wanted.uuid, "name": vm.wanted.name, "state": vms.states[vm.wanted.uuid]} for vm in vms.vms],
        "osd": osds,
        "faults": [fault_body(fault) for fault in faults],
    }
