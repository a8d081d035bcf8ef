"""What the monitors and the manager say of the whole of Ceph, put together once: for the primary, which keeps it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pvc_core.errors import Retry
from pvc_core.model.fault import Fault
from pvc_core.model.storage import Pool, StorageReport
from pvc_core.units import format_size
from pvc_storage_ceph.cluster import Cluster
from pvc_storage_ceph.faults import readable

_WEIGHT = {"HEALTH_WARN": 10, "HEALTH_ERR": 50}
OSD_OUT, OSD_DOWN, NEARLY_FULL = 50, 25, 25
NO_MANAGER = "no manager of Ceph (ceph-mgr) answers, which counts what OSDs and pools hold"
NEARLY = 0.8
"""The line that new volumes do not cross without `force`."""


def collected(cluster: Cluster, pools: Sequence[Pool], name: Callable[[Pool], str]) -> StorageReport:
    """Raises rados.Error. Pools that Ceph does not have are left out. Asks no OSD: those may stand still. While no
    manager counts, what the monitors know is told, and `silent` says what is missing.
    """
    work = _counted(cluster)
    if work is None:
        return StorageReport(
            driver="storage_ceph",
            status=cluster.text("status"),
            flags=tuple(cluster.command("osd dump")["flags_set"]),
            faults=tuple(_checks(cluster)),
            silent=NO_MANAGER,
        )
    found = [pool for pool in pools if cluster.has_pool(name(pool))]
    osds = _osds(cluster, work)
    stats = {pool.name: _pool(cluster, name(pool)) for pool in found}
    return StorageReport(
        driver="storage_ceph",
        status=cluster.text("status"),
        utilization=cluster.text("df"),
        pools=stats,
        osds=osds,
        flags=tuple(cluster.command("osd dump")["flags_set"]),
        faults=(*_checks(cluster), *_osd_faults(osds), *_full(stats)),
    )


def _counted(cluster: Cluster) -> dict[int, dict[str, str]] | None:
    """What each OSD does, which the manager alone knows; None when none answers. A monitor calls a dead one active for
    half a minute, so the manager itself is asked.
    """
    try:
        if not cluster.command("mgr stat").get("available"):
            return None
        return _work(cluster.text("osd status", of_manager=True))
    except (Retry, cluster.rados.TimedOut):
        return None


def _pool(cluster: Cluster, name: str) -> dict[str, int | float]:
    """Of `ceph df` and librados' own count, under the wire's names."""
    counted = next((one for one in cluster.command("df", detail="detail")["pools"] if one["name"] == name), None)
    io = cluster.pool(name).get_stats()
    stats = counted["stats"] if counted else {}
    return {
        "id": int(counted["id"]) if counted else cluster.pool_number(name),
        "stored_bytes": int(stats.get("stored", 0)),
        "free_bytes": int(stats.get("max_avail", 0)),
        "used_bytes": int(stats.get("bytes_used", 0)),
        "used_percent": round(float(stats.get("percent_used", 0)) * 100, 2),
        "num_objects": int(io["num_objects"]),
        "num_object_clones": int(io["num_object_clones"]),
        "num_object_copies": int(io["num_object_copies"]),
        "num_objects_missing_on_primary": int(io["num_objects_missing_on_primary"]),
        "num_objects_unfound": int(io["num_objects_unfound"]),
        "num_objects_degraded": int(io["num_objects_degraded"]),
        "read_ops": int(io["num_rd"]),
        "read_bytes": int(io["num_rd_kb"]) * 1024,
        "write_ops": int(io["num_wr"]),
        "write_bytes": int(io["num_wr_kb"]) * 1024,
    }


def _osds(cluster: Cluster, work: dict[int, dict[str, str]]) -> tuple[dict[str, Any], ...]:
    tree = cluster.command("osd df", output_method="tree")
    counted = {one["id"]: one for one in [*tree["nodes"], *tree["stray"]] if one["type"] == "osd"}
    hosts = {child: node["name"] for node in tree["nodes"] if node["type"] == "host" for child in node["children"]}
    about = {one["id"]: one for one in cluster.command("osd metadata")}
    shared = _devices(about)
    return tuple(
        _osd(one, counted.get(one["osd"], {}), about.get(one["osd"], {}), hosts, work.get(one["osd"], {}), shared)
        for one in sorted(cluster.command("osd dump")["osds"], key=lambda one: int(one["osd"]))
    )


def _osd(
    one: dict[str, Any],
    counted: dict[str, Any],
    about: dict[str, Any],
    hosts: dict[int, str],
    work: dict[str, str],
    shared: dict[tuple[str, str], int],
) -> dict[str, Any]:
    number = int(one["osd"])
    node = hosts.get(number, about.get("hostname", ""))
    device = _device(about, "bluestore_bdev")
    return {
        "id": str(number),
        "fsid": one.get("uuid", ""),
        "node": node,
        "device": device,
        "is_split": shared.get((str(about.get("hostname", "")), device), 0) > 1,
        "db_device": _device(about, "bluefs_db") if about.get("bluefs_dedicated_db") == "1" else "",
        "stats": {
            "uuid": one.get("uuid", ""),
            "up": int(one["up"]),
            "in": int(one["in"]),
            "primary_affinity": float(one.get("primary_affinity", 1.0)),
            "utilization": float(counted.get("utilization", 0.0)),
            "var": float(counted.get("var", 0.0)),
            "pgs": int(counted.get("pgs", 0)),
            **{
                key: int(counted.get(key, 0))
                for key in ("kb", "kb_used", "kb_used_data", "kb_used_omap", "kb_used_meta", "kb_avail")
            },
            "weight": float(counted.get("crush_weight", 0.0)),
            "reweight": float(counted.get("reweight", one.get("weight", 0.0))),
            "class": counted.get("device_class", ""),
            "node": node,
            "used": work.get("used", format_size(int(counted.get("kb_used", 0)) * 1024)),
            "avail": work.get("avail", format_size(int(counted.get("kb_avail", 0)) * 1024)),
            "wr_ops": work.get("wr_ops", "0"),
            "wr_data": work.get("wr_data", "0"),
            "rd_ops": work.get("rd_ops", "0"),
            "rd_data": work.get("rd_data", "0"),
            "state": ",".join(one.get("state", [])),
        },
    }


def _device(about: dict[str, Any], what: str) -> str:
    """The disk it lies on, as far as the OSD knows; else the path it opened."""
    names = str(about.get(f"{what}_devices", "")).split(",")
    path = str(about.get(f"{what}_path", about.get(f"{what}_dev_node", "")))
    if about.get(f"{what}_access_mode") == "file":
        return path
    return f"/dev/{names[0]}" if names[0] else path


def _devices(about: dict[int, dict[str, Any]]) -> dict[tuple[str, str], int]:
    """How many OSDs a device of a host has."""
    found: dict[tuple[str, str], int] = {}
    for one in about.values():
        key = (str(one.get("hostname", "")), _device(one, "bluestore_bdev"))
        found[key] = found.get(key, 0) + 1
    return found


def _work(table: str) -> dict[int, dict[str, str]]:
    """`ceph osd status` of Ceph 16 has no JSON: ID HOST USED AVAIL WR-OPS WR-DATA RD-OPS RD-DATA STATE."""
    names = ("id", "host", "used", "avail", "wr_ops", "wr_data", "rd_ops", "rd_data", "state")
    rows = [line.split() for line in table.splitlines()[1:]]
    return {int(row[0]): dict(zip(names, row, strict=True)) for row in rows if len(row) == len(names)}


def _checks(cluster: Cluster) -> list[Fault]:
    checks = cluster.command("status")["health"].get("checks", {})
    found = []
    for name, check in sorted(checks.items()):
        severity = check.get("severity", "HEALTH_WARN")
        id = f"CEPH_{severity.removeprefix('HEALTH_')}_{name}"
        said = check.get("summary", {}).get("message", name)
        found.append(Fault(id=id, weight=_WEIGHT.get(severity, 10), message=f"Ceph: {said}"))
    return found


def _osd_faults(osds: Sequence[dict[str, Any]]) -> list[Fault]:
    found = []
    for osd in osds:
        where = f" on {osd['node']}" if osd["node"] else ""
        if not osd["stats"]["in"]:
            said = f"OSD {osd['id']}{where} is out: Ceph keeps no data on it"
            found.append(Fault(id=f"CEPH_OSD_OUT_{osd['id']}", weight=OSD_OUT, message=said))
        if not osd["stats"]["up"]:
            said = f"OSD {osd['id']}{where} is down: its daemon does not answer"
            found.append(Fault(id=f"CEPH_OSD_DOWN_{osd['id']}", weight=OSD_DOWN, message=said))
    return found


def _full(pools: dict[str, dict[str, int | float]]) -> list[Fault]:
    found = []
    for name, stats in pools.items():
        total = stats["stored_bytes"] + stats["free_bytes"]
        if total and stats["stored_bytes"] > NEARLY * total:
            said = (
                f"pool {name} is nearly full: {readable(int(stats['stored_bytes']))} of {readable(int(total))}; "
                "when it is full every guest in it stops"
            )
            found.append(Fault(id=f"STORAGE_NEARLY_FULL_{name.upper()}", weight=NEARLY_FULL, message=said))
    return found
