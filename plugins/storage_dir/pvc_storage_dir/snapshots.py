"""Snapshots of one unused volume: a raw one keeps copies beside the disk, a qcow2 one keeps them inside the file.

volume.json decides what exists: it names a snapshot only after its bytes are there, and no longer before they go.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace

from pvc_core.errors import Exists, NotFound, Permanent
from pvc_core.model.storage import Snapshot
from pvc_storage_dir.copying import copy_file, fsync_directory, used_bytes
from pvc_storage_dir.faults import Job
from pvc_storage_dir.images import Images
from pvc_storage_dir.pooldir import PoolDir, safe_id
from pvc_storage_dir.volumedir import Snap, VolumeDir


def create(pool: PoolDir, volume: VolumeDir, snapshot: Snapshot, images: Images, job: Job) -> None:
    """The content now, under this name. There with the same id: fine."""
    if volume.snap(safe_id(snapshot.id)):
        return
    _name_is_free(volume, snapshot.name)
    if volume.format == "qcow2":
        images.make_snapshot(volume.disk, snapshot.id, job)
    else:
        _copy(pool, volume, volume.disk, volume.snap_path(snapshot.id), job)
    taken = Snap(id=snapshot.id, name=snapshot.name, size_bytes=volume.size_bytes())
    volume.with_snapshots(*volume.snapshots, taken)


def remove(volume: VolumeDir, snapshot: Snapshot, images: Images, job: Job) -> None:
    """Gone already: fine."""
    if volume.snap(safe_id(snapshot.id)):
        volume.with_snapshots(*(one for one in volume.snapshots if one.id != snapshot.id))
    if volume.format == "qcow2":
        images.remove_snapshot(volume.disk, snapshot.id, job)
    else:
        with suppress(FileNotFoundError):
            os.unlink(volume.snap_path(snapshot.id))


def rename(volume: VolumeDir, snapshot: Snapshot, new_name: str) -> None:
    """Raises NotFound, Exists."""
    snap = _required(volume, snapshot)
    if snap.name == new_name:
        return
    _name_is_free(volume, new_name)
    volume.with_snapshots(*(replace(one, name=new_name) if one.id == snap.id else one for one in volume.snapshots))


def rollback(pool: PoolDir, volume: VolumeDir, snapshot: Snapshot, images: Images, job: Job) -> None:
    """Content and size are the snapshot's. Until it is done volume.json says that it is not, and attach waits."""
    snap = _required(volume, snapshot)
    if volume.format == "raw":
        _copy(pool, volume, volume.snap_path(snap.id), volume.disk, job)
        return
    # qemu-img changes the file in place, first its size, then its tables: in between it is neither the old nor the new.
    volume = volume.with_rollback(snap.id)
    images.apply_snapshot(volume.disk, snap.id, job)
    images.repair(volume.disk, job)
    volume.with_rollback("")


def _copy(pool: PoolDir, volume: VolumeDir, source: str, target: str, job: Job) -> None:
    job.asked_bytes = used_bytes(source)
    with pool.staging(volume.id) as staged:
        path = os.path.join(staged, "copy")
        try:
            copy_file(source, path, lambda _done, _total: job.check())
        except FileNotFoundError as error:
            raise Permanent(
                f"{job.doing} failed: {error.filename} is missing", help="restore it from a backup"
            ) from error
        os.replace(path, target)
    fsync_directory(volume.path)


def _required(volume: VolumeDir, snapshot: Snapshot) -> Snap:
    snap = volume.snap(safe_id(snapshot.id))
    if not snap:
        raise NotFound(f'volume "{volume.name}" has no snapshot "{snapshot.name}"')
    return snap


def _name_is_free(volume: VolumeDir, name: str) -> None:
    if any(one.name == name for one in volume.snapshots):
        raise Exists(f'volume "{volume.name}" has another snapshot called "{name}"', help="choose another name")
