"""Thin clones, which share their parent's data; their flattening; and volumes that somebody else made, taken over."""

from __future__ import annotations

from typing import Any

from pvc_core.contracts.storage import adopted_id
from pvc_core.errors import NotFound, Refused
from pvc_core.model.storage import Volume, VolumeFound
from pvc_storage_ceph import images
from pvc_storage_ceph.images import staged_name
from pvc_storage_ceph.records import Record, Snap
from pvc_storage_ceph.volumes import Volumes

_LATER_FEATURES = 4 | 8 | 16
"""exclusive-lock, object-map, fast-diff: can be given to an image that is there already."""


def clone(volumes: Volumes, source: Volume, target: Volume) -> VolumeFound:
    """`target` shares what `source` holds at this moment. Version 2 of Ceph's clones: the snapshot in between needs no
    protection, and Ceph itself forgets it with the last clone.
    """
    if volumes.find(target) is not None:
        return volumes.found(volumes.need(target))
    volumes.name_is_free(target.name)
    origin = volumes.usable(source)
    volumes.purge(target.id)
    moment, staged = f".pvc-clone-{target.id}", staged_name("new", target.id)
    with volumes.images.opened(origin.name) as image:  # once: opening and locking it costs as much as the clone
        if moment in [one["name"] for one in image.list_snaps()]:
            image.remove_snap(moment)
        image.create_snap(moment)
        try:
            made = volumes.images.clone(origin.name, moment, staged)
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            volumes.purge(target.id)
            raise
        finally:
            image.remove_snap(moment)
    return volumes.publish(Record(id=target.id, name=target.name, image=made), staged)


def flatten(volumes: Volumes, volume: Volume, progress: Any) -> None:
    """It shares nothing any more. Did not already: fine. Also while a guest uses it."""
    record = volumes.need(volume)
    with volumes.images.opened(record.name) as image:
        if volumes.images.has_parent(image):
            said = f'copying what volume "{volume.ref}" shares'
            image.flatten(on_progress=lambda done, total: progress(done, total, said) or 0)


def adopt(volumes: Volumes, volume: Volume) -> VolumeFound:
    """The image of this name, which has no record, is this volume from now on."""
    if volumes.find(volume) is not None:
        return volumes.found(volumes.need(volume))
    if volume.name not in volumes.images.names().values():
        raise NotFound(f'pool {volume.pool} has no image called "{volume.name}"')
    for record in volumes.records.all():
        if record.name == volume.name and not record.gone:
            raise Refused(f'image "{volume.name}" is another volume already, with id {record.id}')
    with volumes.images.opened(volume.name) as image:
        missing = _LATER_FEATURES & ~int(image.features())
        if missing:
            image.update_features(missing, True)
        snaps = tuple(
            Snap(id=adopted_id(volume.id, str(one["name"])), name=str(one["name"]), number=int(one["id"]))
            for one in images.snapshots(image)
        )
        number = str(image.id())
    record = volumes.records.put(Record(id=volume.id, name=volume.name, image=number, snapshots=snaps))
    return volumes.found(record)
