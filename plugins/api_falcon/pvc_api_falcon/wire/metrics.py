"""Metrics on the wire: the families PVC has, as text for Prometheus (its text exposition format, version 0.0.4).

What no driver here tells (OSDs, operations of pools) is a family without samples, or zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from pvc_api_falcon.wire.cluster import status_body
from pvc_api_falcon.wire.node import node_body
from pvc_api_falcon.wire.storage import pool_body
from pvc_api_falcon.wire.vm import vm_body
from pvc_core.services import Services

Labels = dict[str, Any]
Sample = tuple[str, Labels, float]
"""(family without its "pvc_", labels, value)."""

HEALTH = (
    "ceph_osd_in_states", "ceph_osd_up_states", "cluster_cpu_utilization", "cluster_disk_utilization",
    "cluster_faults", "cluster_health", "cluster_maintenance", "cluster_memory_allocated_utilization",
    "cluster_memory_provisioned_utilization", "cluster_memory_real_utilization", "cluster_network_utilization",
    "info", "networks", "node_daemon_states", "node_domain_states", "node_health", "nodes", "osds", "pools",
    "snapshots", "vm_states", "vms", "volumes",
)  # fmt: skip
RESOURCE = (
    "ceph_osd_avail", "ceph_osd_db_device", "ceph_osd_device", "ceph_osd_device_class", "ceph_osd_pgs",
    "ceph_osd_rd_data", "ceph_osd_rd_ops", "ceph_osd_reweight", "ceph_osd_size", "ceph_osd_used",
    "ceph_osd_used_data", "ceph_osd_used_meta", "ceph_osd_used_omap", "ceph_osd_util", "ceph_osd_var",
    "ceph_osd_weight", "ceph_osd_wr_data", "ceph_osd_wr_ops", "ceph_pool_free_bytes", "ceph_pool_num_objects",
    "ceph_pool_num_objects_clones", "ceph_pool_num_objects_copies", "ceph_pool_num_objects_degraded",
    "ceph_pool_num_objects_missing_on_primary", "ceph_pool_num_objects_unfound", "ceph_pool_pgs",
    "ceph_pool_read_bytes", "ceph_pool_read_ops", "ceph_pool_stored_bytes", "ceph_pool_tier",
    "ceph_pool_used_bytes", "ceph_pool_used_percent", "ceph_pool_volumes", "ceph_pool_write_bytes",
    "ceph_pool_write_ops", "node_allocated_memory", "node_allocated_memory_utilization", "node_allocated_vcpus",
    "node_architecture", "node_cpu_utilization", "node_domains_count", "node_free_memory", "node_host_cpus",
    "node_kernel", "node_load_average", "node_network_packets_rx", "node_network_packets_tx",
    "node_network_traffic_rx", "node_network_traffic_tx", "node_network_utilization", "node_provisioned_memory",
    "node_provisioned_memory_utilization", "node_total_memory", "node_used_memory",
    "node_used_memory_utilization", "vm_active_node", "vm_autostart", "vm_description", "vm_disk_rd_bytes",
    "vm_disk_rd_req", "vm_disk_wr_bytes", "vm_disk_wr_req", "vm_failed_reason", "vm_machine_type", "vm_memory",
    "vm_memory_stats_actual", "vm_memory_stats_available", "vm_memory_stats_disk_caches",
    "vm_memory_stats_hugetlb_pgalloc", "vm_memory_stats_hugetlb_pgfail", "vm_memory_stats_major_fault",
    "vm_memory_stats_minor_fault", "vm_memory_stats_rss", "vm_memory_stats_swap_in", "vm_memory_stats_swap_out",
    "vm_memory_stats_unused", "vm_memory_stats_usable", "vm_migrated", "vm_migration_method",
    "vm_network_macaddr", "vm_network_model", "vm_network_rd_bits", "vm_network_rd_drops", "vm_network_rd_errors",
    "vm_network_rd_packets", "vm_network_wr_bits", "vm_network_wr_drops", "vm_network_wr_errors",
    "vm_network_wr_packets", "vm_node_limit", "vm_node_selector", "vm_profile", "vm_serial_console", "vm_state",
    "vm_tags", "vm_uuid", "vm_vcpu_topology", "vm_vcpus", "vm_vcpus_cpu_time", "vm_vcpus_system_time",
    "vm_vcpus_user_time", "vm_vnc_console", "vm_vnc_listen_address", "vm_vnc_listen_port",
)  # fmt: skip
POOL_STATS = {
    "free_bytes": "free_bytes", "num_objects": "num_objects", "num_objects_clones": "num_object_clones",
    "num_objects_copies": "num_object_copies", "num_objects_degraded": "num_objects_degraded",
    "num_objects_missing_on_primary": "num_objects_missing_on_primary", "num_objects_unfound": "num_objects_unfound",
    "read_bytes": "read_bytes", "read_ops": "read_ops", "stored_bytes": "stored_bytes", "used_bytes": "used_bytes",
    "used_percent": "used_percent", "write_bytes": "write_bytes", "write_ops": "write_ops",
}  # fmt: skip
NETWORK_STATS = ("traffic_rx", "traffic_tx", "packets_rx", "packets_tx", "utilization")
MEMORY_STATS = (
    "actual", "available", "disk_caches", "hugetlb_pgalloc", "hugetlb_pgfail", "major_fault", "minor_fault", "rss",
    "swap_in", "swap_out", "unused", "usable",
)  # fmt: skip
DAEMON_STATES = ("run", "init", "stop", "dead", "fenced")
DOMAIN_STATES = ("ready", "flush", "flushed", "unflush")
VM_STATES = ("start", "restart", "shutdown", "stop", "disable", "fail", "migrate", "unmigrate", "provision")


def health_text(services: Services) -> str:
    return _text(_health(services), HEALTH)


def resource_text(services: Services) -> str:
    return _text([*_nodes(services), *_vms(services), *_pools(services)], RESOURCE)


def _health(services: Services) -> Iterator[Sample]:
    status = status_body(services)
    nodes: list[dict[str, Any]] = [{**node_body(node)} for node in services.nodes.list()]
    facts = {"primary_node": status["primary_node"], "version": status["pvc_version"]}
    yield "info", {**facts, "upstream_ip": status["upstream_ip"]}, 1
    yield "cluster_maintenance", {}, status["maintenance"] == "true"
    yield "cluster_health", {}, status["cluster_health"]["health"]
    faults = (fault["status"] for fault in status["detail"]["faults"])
    yield from _counts("cluster_faults", "status", faults, ("new", "ack"))
    resources = status["resources"]
    memory = resources["memory"]
    yield "cluster_cpu_utilization", {}, resources["cpu"]["utilization"]
    yield "cluster_network_utilization", {}, _mean([_network(node)[4] for node in nodes])
    yield "cluster_memory_real_utilization", {}, memory["utilization"]
    yield "cluster_memory_allocated_utilization", {}, _percent(memory["allocated"], memory["total"])
    yield "cluster_memory_provisioned_utilization", {}, _percent(memory["provisioned"], memory["total"])
    yield "cluster_disk_utilization", {}, resources["disk"]["utilization"]
    for node in nodes:
        yield "node_health", {"node": node["name"]}, node["health"] if _number(node["health"]) else 0
    yield from _counts("node_daemon_states", "state", (node["daemon_state"] for node in nodes), DAEMON_STATES)
    yield from _counts("node_domain_states", "state", (node["domain_state"] for node in nodes), DOMAIN_STATES)
    yield from _counts("vm_states", "state", (vm["state"] for vm in status["detail"]["vm"]), VM_STATES)
    yield from _counts("ceph_osd_up_states", "state", (osd["up"] for osd in status["detail"]["osd"]), ("up", "down"))
    yield from _counts("ceph_osd_in_states", "state", (osd["in"] for osd in status["detail"]["osd"]), ("in", "out"))
    yield "nodes", {}, len(nodes)
    yield "vms", {}, len(status["detail"]["vm"])
    yield "osds", {}, status["osds"]["total"]
    yield "networks", {}, len(services.networks.list(None))
    yield from ((name, {}, status[name]) for name in ("pools", "volumes", "snapshots"))


def _nodes(services: Services) -> Iterator[Sample]:
    for picture in services.nodes.list():
        node: dict[str, Any] = {**node_body(picture)}
        of, memory = {"node": node["name"]}, node["memory"]
        yield "node_host_cpus", of, node["vcpu"]["total"]
        yield "node_allocated_vcpus", of, node["vcpu"]["allocated"]
        yield "node_load_average", of, node["load"]
        yield "node_cpu_utilization", of, _percent(node["load"], node["vcpu"]["total"])
        yield "node_domains_count", of, node["domains_count"]
        yield "node_architecture", {**of, "architecture": node["arch"]}, 1
        yield "node_kernel", {**of, "kernel": node["kernel"]}, 1
        flows = zip(NETWORK_STATS, _network(node), strict=True)
        yield from ((f"node_network_{name}", of, value) for name, value in flows)
        yield "node_total_memory", of, memory["total"]
        yield "node_free_memory", of, memory["free"]
        for word in ("allocated", "provisioned", "used"):
            yield f"node_{word}_memory", of, memory[word]
            yield f"node_{word}_memory_utilization", of, _percent(memory[word], memory["total"])


def _network(node: dict[str, Any]) -> tuple[float, float, float, float, float]:
    """rx and tx in bits, in packets, and how much of the links' speed that is in percent."""
    found = [one for one in node["interfaces"].values() if isinstance(one, dict)]
    rx, tx, rx_packets, tx_packets, speed = (
        sum(float(one.get(name) or 0) for one in found)
        for name in ("rx_bps", "tx_bps", "rx_pps", "tx_pps", "link_speed")
    )
    return rx, tx, rx_packets, tx_packets, _percent(rx + tx, 2 * speed)


def _vms(services: Services) -> Iterator[Sample]:
    for picture in services.vms.list():
        vm: dict[str, Any] = {**vm_body(picture)}
        of = {"vm": vm["name"]}
        for name in ("uuid", "description", "profile", "state", "failed_reason", "node_selector", "migration_method"):
            yield f"vm_{name}", {**of, name: vm[name] or ""}, 1
        yield "vm_node_limit", {**of, "node_limit": ",".join(vm["node_limit"] or ())}, 1
        yield "vm_autostart", {**of, "autostart": vm["node_autostart"]}, 1
        yield from (("vm_tags", {**of, "tag": tag["name"]}, 1) for tag in vm["tags"])
        yield "vm_active_node", {**of, "node": vm["node"]}, 1
        yield "vm_migrated", {**of, "last_node": vm["last_node"] or ""}, vm["migrated"] == "yes"
        yield "vm_machine_type", {**of, "machine_type": vm["machine"]}, 1
        yield "vm_serial_console", of, vm["console"] == "pty"
        yield "vm_vnc_console", of, bool(vm["vnc"]["listen"])
        yield "vm_vnc_listen_address", {**of, "address": vm["vnc"]["listen"]}, 1
        yield "vm_vnc_listen_port", {**of, "port": vm["vnc"]["port"]}, 1
        yield "vm_vcpus", of, vm["vcpu"]
        yield "vm_vcpu_topology", {**of, "topology": vm["vcpu_topology"]}, 1
        yield from ((f"vm_vcpus_{name}", of, value) for name, value in vm["vcpu_stats"].items())
        yield "vm_memory", of, vm["memory"]
        yield from ((f"vm_memory_stats_{name}", of, vm["memory_stats"][name]) for name in MEMORY_STATS)
        yield from _nics(vm, of)
        yield from _disks(vm, of)


def _nics(vm: dict[str, Any], of: Labels) -> Iterator[Sample]:
    for nic in vm["networks"]:
        on = {**of, "vni": nic["vni"] or nic["source"]}
        yield "vm_network_macaddr", {**on, "macaddr": nic["mac"]}, 1
        yield "vm_network_model", {**on, "model": nic["model"]}, 1
        for way in ("rd", "wr"):
            yield f"vm_network_{way}_bits", on, nic[f"{way}_bytes"] * 8
            for what in ("packets", "errors", "drops"):
                yield f"vm_network_{way}_{what}", on, nic[f"{way}_{what}"]


def _disks(vm: dict[str, Any], of: Labels) -> Iterator[Sample]:
    for disk in vm["disks"]:
        on = {**of, "disk": disk["name"]}
        yield from ((f"vm_disk_{what}", on, disk[what]) for what in ("rd_req", "rd_bytes", "wr_req", "wr_bytes"))


def _pools(services: Services) -> Iterator[Sample]:
    for picture in services.storage.pools():
        pool: dict[str, Any] = {**pool_body(picture)}
        of = {"pool": pool["name"]}
        yield "ceph_pool_tier", {**of, "tier": pool["tier"]}, 1
        yield "ceph_pool_pgs", of, float(pool["pgs"] or 0)
        yield "ceph_pool_volumes", of, pool["volume_count"]
        yield from ((f"ceph_pool_{name}", of, pool["stats"][key]) for name, key in POOL_STATS.items())


def _counts(family: str, label: str, found: Iterable[Any], known: tuple[str, ...]) -> Iterator[Sample]:
    counts = Counter(map(str, found))
    yield from ((family, {label: word}, counts[word]) for word in dict.fromkeys((*known, *counts)))


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 2) if values else 0.0


def _percent(part: float, whole: float) -> float:
    return round(part / whole * 100, 2) if whole else 0.0


def _number(value: Any) -> bool:
    return isinstance(value, int | float)


def _text(samples: Iterable[Sample], families: tuple[str, ...]) -> str:
    by_family: dict[str, list[str]] = {family: [] for family in families}
    seen: set[str] = set()
    for family, labels, value in samples:
        shown = ",".join(f'{name}="{_escaped(str(word))}"' for name, word in labels.items())
        name = f"pvc_{family}" + (f"{{{shown}}}" if shown else "")
        if name not in seen:  # two NICs of one VM on one network are one line to Prometheus
            seen.add(name)
            by_family[family].append(f"{name} {float(value):g}" if value < 1e6 else f"{name} {int(value)}")
    lines: list[str] = []
    for family, found in by_family.items():
        words = family.replace("_", " ")
        lines += [f"# HELP pvc_{family} PVC {words}", f"# TYPE pvc_{family} gauge", *found]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
