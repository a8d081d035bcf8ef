"""Snapshots of a volume: Ceph's own, under the name people gave them; PVC's id of each is in the volume's record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pvc_core.errors import Exists, NotFound
from pvc_core.model.storage import Snapshot, Volume
from pvc_storage_ceph import images
from pvc_storage_ceph.records import Record, Snap
from pvc_storage_ceph.volumes import Volumes


def create(volumes: Volumes, volume: Volume, snapshot: Snapshot) -> None:
    """There with the same id: fine. Its name is hidden until its record is written; a killed call's is replaced."""
    record = volumes.usable(volume)
    with volumes.images.opened(record.name) as image:
        if record.snap(snapshot.id) is None:
            _name_is_free(record, image, snapshot.name)
            hidden = f".pvc-{snapshot.id}"
            if hidden in _numbers(image):
                image.remove_snap(hidden)
            image.create_snap(hidden)
            made = Snap(id=snapshot.id, name=snapshot.name, number=_numbers(image)[hidden])
            record = volumes.records.put(record.with_snap(made))
        name_follows(record, image, snapshot.id)


def remove(volumes: Volumes, volume: Volume, snapshot: Snapshot) -> None:
    """Gone already, or with its volume: fine."""
    record = volumes.find(volume)
    snap = record.snap(snapshot.id) if record else None
    if record is None or snap is None:
        return
    with volumes.images.opened(record.name) as image:
        name = _name_of(image, snap)
        if name is not None:
            if image.is_protected_snap(name):
                image.unprotect_snap(name)
            image.remove_snap(name)
    volumes.records.put(record.without_snap(snap.id))


def rename(volumes: Volumes, volume: Volume, snapshot: Snapshot, new_name: str) -> None:
    """Raises NotFound, Exists."""
    record = volumes.need(volume)
    snap = _required(record, snapshot)
    with volumes.images.opened(record.name) as image:
        if snap.name != new_name:
            _name_is_free(record, image, new_name)
            record = volumes.records.put(record.with_snap(replace(snap, name=new_name)))
        name_follows(record, image, snap.id)


def rollback(volumes: Volumes, volume: Volume, snapshot: Snapshot) -> None:
    """Content and size are the snapshot's. Until it is done the record says that it is not, and nobody may attach."""
    record = volumes.need(volume)
    snap = _required(record, snapshot)
    volumes.images.unused(record.name, f'rolling volume "{volume.ref}" back')
    with volumes.images.opened(record.name) as image:
        name = _name_of(image, snap)
        if name is None:
            raise NotFound(f'snapshot "{snap.name}" of volume "{volume.ref}" is missing in Ceph')
        record = volumes.records.put(replace(record, rollback=snap.id))
    finish_rollback(volumes, volume, record)


def finish_rollback(volumes: Volumes, volume: Volume, record: Record) -> None:
    """The one that the record says was begun."""
    snap = record.snap(record.rollback)
    with volumes.images.opened(record.name) as image:
        name = _name_of(image, snap) if snap else None
        if name is None:
            raise NotFound(f'the snapshot that volume "{volume.ref}" shall be rolled back to is missing in Ceph')
        image.rollback_to_snap(name)
    volumes.records.put(replace(record, rollback=""))


def real_name(record: Record, image: Any, name: str) -> str:
    """Ceph's name of the snapshot that people call `name`. Raises NotFound."""
    snap = next((one for one in record.snapshots if one.name == name), None)
    found = _name_of(image, snap) if snap else None
    if found is None:
        raise NotFound(f'volume "{record.name}" has no snapshot "{name}"')
    return found


def _required(record: Record, snapshot: Snapshot) -> Snap:
    snap = record.snap(snapshot.id)
    if snap is None:
        raise NotFound(f'volume "{record.name}" has no snapshot "{snapshot.name}"')
    return snap


def _name_is_free(record: Record, image: Any, name: str) -> None:
    if name in _numbers(image) or any(one.name == name for one in record.snapshots):
        raise Exists(f'volume "{record.name}" has another snapshot called "{name}"', help="choose another name")


def name_follows(record: Record, image: Any, snap_id: str) -> None:
    """Ceph calls it as its record does."""
    snap = record.snap(snap_id)
    assert snap is not None
    now = _name_of(image, snap)
    if now is not None and now != snap.name:
        image.rename_snap(now, snap.name)


def _name_of(image: Any, snap: Snap) -> str | None:
    return next((name for name, number in _numbers(image).items() if number == snap.number), None)


def _numbers(image: Any) -> dict[str, int]:
    return {str(one["name"]): int(one["id"]) for one in images.snapshots(image)}
