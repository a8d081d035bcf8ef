"""Pools, volumes and their snapshots as text."""

from __future__ import annotations

from typing import Any

from pvc_cli.output import Output
from pvc_cli.tables import Column, size, table

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


def pool_list(out: Output, pools: list[dict[str, Any]]) -> str:
    return table(out, POOLS, sorted(pools, key=lambda p: p["name"]), empty="No pool matches.")


def volume_list(out: Output, volumes: list[dict[str, Any]]) -> str:
    return table(out, VOLUMES, sorted(volumes, key=lambda v: (v["pool"], v["name"])), empty="No volume matches.")


def snapshot_list(out: Output, snapshots: list[dict[str, Any]]) -> str:
    rows = sorted(snapshots, key=lambda s: (s["pool"], s["volume"], s["snapshot"]))
    return table(out, SNAPSHOTS, rows, empty="No snapshot matches.")
