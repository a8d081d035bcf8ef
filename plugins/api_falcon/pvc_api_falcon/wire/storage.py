"""Pools, volumes and snapshots on the wire, which speaks of them as Ceph does; other drivers' get the nearest figures.

Objects are counted in 4 MiB, as if a volume were an RBD image. `size_bytes`, `image_format`, `driver`, `home` are ours.
"""

from __future__ import annotations

import time
from typing import Any

from pvc_core.model.storage import Snapshot, Volume
from pvc_core.services.pictures import PoolPicture, VolumePicture
from pvc_core.units import MIB, format_size

OBJECT_BYTES = 4 * MIB


def pool_body(pool: PoolPicture) -> dict[str, Any]:
    usage = pool.usage
    total, used = (usage.total_bytes, usage.used_bytes) if usage else (0, 0)
    stored = usage.stored_bytes if usage else 0
    return {
        "name": pool.pool.name,
        "volume_count": pool.volume_count,
        "tier": pool.pool.tier,
        "pgs": str(pool.pool.pgs),
        "stats": {
            "id": 0,
            "stored_bytes": stored,
            "free_bytes": usage.free_bytes if usage else 0,
            "used_bytes": used,
            "used_percent": round(used / total * 100, 2) if total else 0.0,
            "num_objects": -(-stored // OBJECT_BYTES),
            "num_object_clones": 0,
            "num_object_copies": 0,
            "num_objects_missing_on_primary": 0,
            "num_objects_unfound": 0,
            "num_objects_degraded": 0,
            "read_ops": 0,
            "read_bytes": 0,
            "write_ops": 0,
            "write_bytes": 0,
            **pool.counters,
        },
        "driver": pool.pool.driver,
        "options": pool.pool.options,
        "shared": pool.shared,
        "status": pool.fault,
    }


def volume_body(picture: VolumePicture) -> dict[str, Any]:
    volume = picture.volume
    users = ", ".join(picture.users)
    return {
        "name": volume.name,
        "pool": volume.pool,
        "stats": {**_image(volume, volume.name, volume.created_at_s), "size": format_size(volume.size_bytes)},
        "used_bytes": picture.used_bytes,
        "parent": picture.parent,
        "home": volume.home,
        "users": list(picture.users),
        "status": f"used by VM {users}" if users else "not used by any VM",
    }


def snapshot_body(volume: Volume, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "pool": volume.pool,
        "volume": volume.name,
        "snapshot": snapshot.name,
        "stats": {**_image(volume, volume.name, snapshot.created_at_s), "size": snapshot.size_bytes},
        "status": "",
    }


def overview(pools: list[PoolPicture]) -> str:
    """Text for people: what PVC answered with `ceph status`."""
    lines = ["  pools:"]
    for pool in pools:
        health = pool.fault or "usable"
        lines.append(f"    {pool.pool.name} ({pool.pool.driver}): {pool.volume_count} volumes, {health}")
    return "\n".join(lines if pools else ["  pools: none"])


def utilization(pools: list[PoolPicture]) -> str:
    """Text for people: what PVC answered with `ceph df`."""
    lines = [f"{'POOL':20} {'DRIVER':16} {'USED':>12} {'FREE':>12} {'TOTAL':>12}"]
    for pool in pools:
        usage = pool.usage
        sizes = (usage.used_bytes, usage.free_bytes, usage.total_bytes) if usage else None
        shown = " ".join(f"{size // MIB:>10} M" for size in sizes) if sizes else "unknown"
        lines.append(f"{pool.pool.name:20} {pool.pool.driver:16} {shown}")
    return "\n".join(lines)


def _image(volume: Volume, name: str, created_at_s: float) -> dict[str, Any]:
    created = time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(created_at_s))
    return {
        "name": name,
        "id": volume.id,
        "objects": -(-volume.size_bytes // OBJECT_BYTES),
        "order": 22,
        "object_size": OBJECT_BYTES,
        "snapshot_count": len(volume.snapshots),
        "block_name_prefix": f"{volume.pool}.{volume.id}",
        "format": 2,
        "features": [],
        "op_features": [],
        "flags": [],
        "create_timestamp": created,
        "access_timestamp": created,
        "modify_timestamp": created,
        "size_bytes": volume.size_bytes,
        "image_format": volume.format,
    }
