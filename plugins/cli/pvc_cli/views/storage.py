"""Pools, volumes and their snapshots as text."""

from __future__ import annotations

from typing import Any

from pvc_cli.output import Output
from pvc_cli.tables import Column, plain, size, state, table

POOLS = (
    Column("Name", lambda p: p["name"]),
    Column("Driver", lambda p: p.get("driver", "")),
    Column("Shared", lambda p: "yes" if p.get("shared") else ""),
    Column("Tier", lambda p: p["tier"]),
    Column("PGs", lambda p: p["pgs"], right=True),
    Column("Volumes", lambda p: p["volume_count"], right=True),
    Column("Used", lambda p: size(p["stats"].get("used_bytes")), right=True),
    Column("Used %", lambda p: p["stats"].get("used_percent"), right=True),
    Column("Free", lambda p: size(p["stats"].get("free_bytes")), right=True),
    Column("Status", lambda p: p.get("status", "")),
)

VOLUMES = (
    Column("Pool", lambda v: v["pool"]),
    Column("Name", lambda v: v["name"]),
    Column("Size", lambda v: v["stats"].get("size"), right=True),
    Column("Used", lambda v: size(v.get("used_bytes")), right=True),
    Column("Snapshots", lambda v: v["stats"].get("snapshot_count"), right=True),
    Column("Format", lambda v: v["stats"].get("format")),
    Column("Features", lambda v: v["stats"].get("features")),
    Column("Status", lambda v: v.get("status", "")),
)

SNAPSHOTS = (
    Column("Pool", lambda s: s["pool"]),
    Column("Volume", lambda s: s["volume"]),
    Column("Snapshot", lambda s: s["snapshot"]),
    Column("Size", lambda s: size(s["stats"].get("size")), right=True),
    Column("Status", lambda s: s.get("status", "")),
)


OSDS = (
    Column("OSD", lambda o: o["id"]),
    Column("Node", lambda o: o["node"]),
    Column("Device", lambda o: o["device"]),
    Column("DB", lambda o: o["db_device"]),
    Column("Class", lambda o: o["stats"].get("class")),
    Column("Up", lambda o: state("up" if o["stats"]["up"] else "down")),
    Column("In", lambda o: "in" if o["stats"]["in"] else "out"),
    Column("Size", lambda o: size(o["stats"].get("kb", 0) * 1024), right=True),
    Column("Used", lambda o: o["stats"].get("used"), right=True),
    Column("Used %", lambda o: f"{o['stats'].get('utilization', 0):.1f}", right=True),
    Column("PGs", lambda o: o["stats"].get("pgs"), right=True),
    Column("Weight", lambda o: f"{o['stats'].get('weight', 0):.3f}", right=True),
    Column("Reweight", lambda o: f"{o['stats'].get('reweight', 0):.2f}", right=True),
)

RESULTS = (
    Column("Test", lambda r: r[0].replace("_", " ")),
    Column("MB/s", lambda r: f"{r[1]['bandwidth_bytes_s'] / 1e6:.1f}", right=True),
    Column("IOPS", lambda r: f"{r[1]['iops']:.0f}", right=True),
    Column("Mean ms", lambda r: f"{r[1]['latency_us']['mean'] / 1000:.2f}", right=True),
    Column("99% ms", lambda r: f"{r[1]['latency_us'].get('p99', 0) / 1000:.2f}", right=True),
)

BENCHMARKS = (
    Column("Job", lambda b: b["job"]),
    Column("Pool", lambda b: b.get("pool", "")),
    Column("Write MB/s", lambda b: f"{_of(b, 'seq_write', 'bandwidth_bytes_s') / 1e6:.0f}", right=True),
    Column("Read MB/s", lambda b: f"{_of(b, 'seq_read', 'bandwidth_bytes_s') / 1e6:.0f}", right=True),
    Column("4K write IOPS", lambda b: f"{_of(b, 'rand_write_4K', 'iops'):.0f}", right=True),
    Column("4K read IOPS", lambda b: f"{_of(b, 'rand_read_4K', 'iops'):.0f}", right=True),
)


def _of(benchmark: dict[str, Any], test: str, what: str) -> float:
    return float(benchmark["benchmark_result"].get(test, {}).get(what, 0))


def own_words(answer: dict[str, Any]) -> str:
    return plain(answer["ceph_data"])


def osd_list(out: Output, osds: list[dict[str, Any]]) -> str:
    return table(out, OSDS, sorted(osds, key=lambda o: int(o["id"])), empty="No OSD matches.")


def benchmark_list(out: Output, found: list[dict[str, Any]]) -> str:
    return table(out, BENCHMARKS, found, empty="Nothing was measured yet.")


def benchmark_info(out: Output, found: dict[str, Any]) -> str:
    head = f"{found['job']}, pool {found.get('pool', '')}"
    return f"{plain(head)}\n\n{table(out, RESULTS, list(found['benchmark_result'].items()), empty='')}"


def pool_list(out: Output, pools: list[dict[str, Any]]) -> str:
    return table(out, POOLS, sorted(pools, key=lambda p: p["name"]), empty="No pool matches.")


def volume_list(out: Output, volumes: list[dict[str, Any]]) -> str:
    return table(out, VOLUMES, sorted(volumes, key=lambda v: (v["pool"], v["name"])), empty="No volume matches.")


def snapshot_list(out: Output, snapshots: list[dict[str, Any]]) -> str:
    rows = sorted(snapshots, key=lambda s: (s["pool"], s["volume"], s["snapshot"]))
    return table(out, SNAPSHOTS, rows, empty="No snapshot matches.")
