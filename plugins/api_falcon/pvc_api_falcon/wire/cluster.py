"""The whole cluster on the wire: GET /status. Its health is what its faults say, and what nodes and VMs say that is no
fault on record yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from pvc_api_falcon.wire.fault import fault_body
from pvc_api_falcon.wire.node import load_of, memory_mib
from pvc_core import __version__
from pvc_core.model.cluster import Settings
from pvc_core.model.fault import Fault
from pvc_core.model.node import DaemonState
from pvc_core.services import Services
from pvc_core.services.pictures import NodePicture, PoolPicture, VmPicture
from pvc_core.units import KIB

DEAD_NODE, FAILED_VM = 50, 10
"""What each costs the cluster's health, as PVC always counted."""


def status_body(services: Services) -> dict[str, Any]:
    nodes, vms, pools = services.nodes.list(), services.vms.list(), services.storage.pools()
    volumes = services.storage.volumes()
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
        "vms": _counted(vm.state for vm in vms),
        "networks": len(services.networks.list(None)),
        "osds": {"total": 0},
        "pools": len(pools),
        "volumes": len(volumes),
        "snapshots": sum(len(picture.volume.snapshots) for picture in volumes),
        "resources": _resources(nodes, pools),
        "detail": _detail(nodes, vms, faults),
        "status": _sentence(services),
    }


def _maintenance(settings: Settings) -> dict[str, Any]:
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


def _troubles(nodes: list[NodePicture], vms: list[VmPicture]) -> list[dict[str, Any]]:
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
        for vm in vms
        if vm.state == "fail"
    ]


def _told(faults: list[Fault], live: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The record, with its acknowledgement, instead of what is only seen."""
    known = {fault.id for fault in faults}
    shown = [_trouble(fault.id, fault.counts, fault.message) for fault in faults]
    return shown + [item for item in live if item["id"] not in known]


def _trouble(id: str, delta: int, text: str) -> dict[str, Any]:
    return {"id": id, "health_delta": delta, "text": text}


def _messages(node: NodePicture) -> list[dict[str, Any]]:
    return [_trouble(item.plugin, item.delta, item.message) for item in node.seen.health if item.delta]


def _counted(words: Iterable[str]) -> dict[str, int]:
    counts = Counter(words)
    return {"total": counts.total(), **counts}


def _resources(nodes: list[NodePicture], pools: list[PoolPicture]) -> dict[str, dict[str, Any]]:
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


def _detail(nodes: list[NodePicture], vms: list[VmPicture], faults: list[Fault]) -> dict[str, list[dict[str, Any]]]:
    return {
        "node": [
            {"name": node.seen.name, "daemon_state": node.seen.daemon_state, "domain_state": node.seen.domain_state}
            for node in nodes
        ],
        "vm": [{"uuid": vm.wanted.uuid, "name": vm.wanted.name, "state": vm.state} for vm in vms],
        "osd": [],
        "faults": [fault_body(fault) for fault in faults],
    }
