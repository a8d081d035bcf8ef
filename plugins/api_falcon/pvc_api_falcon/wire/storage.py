"""Pools, volumes and snapshots on the wire, which speaks of them as Ceph does; other drivers' get the nearest figures.

Objects are counted in 4 MiB, as if a volume were an RBD image. `size_bytes`, `image_format`, `driver`, `home` are ours.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, NotRequired, TypedDict, cast

from msgspec import Meta

from pvc_api_falcon.wire.common import Bytes, Kib, Object, Percent
from pvc_core.model.storage import Snapshot, Volume
from pvc_core.services.pictures import PoolPicture, VolumePicture
from pvc_core.units import MIB, format_size

OBJECT_BYTES = 4 * MIB


class PoolStats(TypedDict):
    id: int
    stored_bytes: Annotated[int, Meta(description="as guests see it, without copies")]
    free_bytes: Annotated[int, Meta(description="what new data may still use")]
    used_bytes: Annotated[int, Meta(description="what its data takes on disk")]
    used_percent: Percent
    num_objects: int
    num_object_clones: int
    num_object_copies: int
    num_objects_missing_on_primary: int
    num_objects_unfound: int
    num_objects_degraded: int
    read_ops: int
    read_bytes: Bytes
    write_ops: int
    write_bytes: Bytes


class PoolBody(Object):
    """A pool of any driver; its `status` is empty while all is well."""

    name: str
    volume_count: int
    tier: str
    pgs: Annotated[str, Meta(description="a number, as text")]
    stats: PoolStats
    driver: Annotated[str, Meta(description="the plugin")]
    options: Annotated[dict[str, Any], Meta(description="its driver's own")]
    shared: Annotated[bool, Meta(description="whether every node has it")]


class ImageStats(TypedDict):
    name: str
    id: str
    objects: int
    order: int
    object_size: Bytes
    snapshot_count: int
    block_name_prefix: str
    format: int
    features: list[str]
    op_features: list[str]
    flags: list[str]
    create_timestamp: str
    access_timestamp: str
    modify_timestamp: str
    size_bytes: Bytes
    image_format: str


class VolumeStats(ImageStats):
    size: Annotated[str, Meta(description="like 20G")]


class SnapshotStats(ImageStats):
    size: Bytes


class VolumeBody(Object):
    """A volume, in a pool of any driver."""

    name: str
    pool: str
    stats: VolumeStats
    used_bytes: Annotated[int | None, Meta(description="null where its driver does not tell")]
    parent: Annotated[str, Meta(description='whose data it shares, as POOL/VOLUME; ""')]
    home: Annotated[str, Meta(description='the one node that has it; "" where all have')]
    users: Annotated[list[str], Meta(description="names of the VMs that name it")]


class SnapshotBody(Object):
    pool: str
    volume: str
    snapshot: Annotated[str, Meta(description="its name")]
    stats: SnapshotStats


OsdStats = TypedDict(
    "OsdStats",
    {
        "uuid": str,
        "up": int,
        "in": int,
        "primary_affinity": float,
        "utilization": Percent,
        "var": float,
        "pgs": int,
        "kb": Kib,
        "kb_used": Kib,
        "kb_used_data": Kib,
        "kb_used_omap": Kib,
        "kb_used_meta": Kib,
        "kb_avail": Kib,
        "weight": float,
        "reweight": float,
        "class": str,
        "node": str,
        "used": str,
        "avail": str,
        "wr_ops": str,
        "wr_data": str,
        "rd_ops": str,
        "rd_data": str,
        "state": str,
    },
)


class OsdBody(TypedDict):
    """An OSD, as its driver tells."""

    id: Annotated[str, Meta(description="a number, as text")]
    fsid: str
    node: Annotated[str, Meta(description='"" where it is not known')]
    device: str
    is_split: Annotated[bool, Meta(description="its device has more than one OSD")]
    db_device: str
    stats: OsdStats


OsdStateBody = TypedDict("OsdStateBody", {"id": str, "in": int, "up": int})


class BenchmarkBody(TypedDict):
    """What was measured once, by `fio` on an image of the pool."""

    id: str
    job: str
    test_format: int
    pool: NotRequired[str]
    at_s: NotRequired[Annotated[float, Meta(description="seconds since 1970")]]
    benchmark_result: Annotated[dict[str, Any], Meta(description="by test")]


class StorageTextBody(TypedDict):
    type: str
    primary_node: str
    ceph_data: Annotated[str, Meta(description="text for people")]


class TakenBody(TypedDict):
    """What an upload is answered with, and what its driver told."""

    message: str
    task_id: str


def pool_body(pool: PoolPicture) -> PoolBody:
    usage = pool.usage
    total, used = (usage.total_bytes, usage.used_bytes) if usage else (0, 0)
    stored = usage.stored_bytes if usage else 0
    return {
        "name": pool.pool.name,
        "volume_count": pool.volume_count,
        "tier": pool.pool.tier,
        "pgs": str(pool.pool.pgs),
        "stats": cast(
            PoolStats,
            {
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
        ),
        "driver": pool.pool.driver,
        "options": pool.pool.options,
        "shared": pool.shared,
        "status": pool.fault,
    }


def volume_body(picture: VolumePicture) -> VolumeBody:
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


def snapshot_body(volume: Volume, snapshot: Snapshot) -> SnapshotBody:
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


def _image(volume: Volume, name: str, created_at_s: float) -> ImageStats:
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
