"""Tasks on volumes: create, clone, resize, rename, remove, upload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from pvc_core.cluster import layout
from pvc_core.cluster.layout import volume_id
from pvc_core.cluster.repository import Add, Drop, Set, Write
from pvc_core.contracts.storage import StorageDriver
from pvc_core.errors import NotFound, Permanent, PvcError, Refused, Retry
from pvc_core.model.storage import Pool, Volume, VolumeFound, VolumePhase
from pvc_core.model.view import Kept
from pvc_core.reconcile.kinds.guest_off import guest_off, running_user
from pvc_core.reconcile.task import Done, Job, TaskKind
from pvc_core.units import format_size

QUICK_S, LONG_S = 60.0, 86_400.0


class Uploads(Protocol):
    """Uploads under way in this daemon, by task id (daemon/bytes.py)."""

    def state(self, task_id: str) -> str:
        """ "waiting" (none has come yet), "running", "done", or the sentence why it failed."""


def kinds(uploads: Uploads) -> Mapping[str, TaskKind]:
    return {
        "volume.create": TaskKind(do=create, undo=uncreate),
        "volume.clone": TaskKind(do=clone, undo=uncreate),
        "volume.resize": TaskKind(do=resize, undo=unbusy),
        "volume.rename": TaskKind(do=rename, undo=unbusy),
        "volume.remove": TaskKind(do=remove),
        "volume.upload": TaskKind(do=lambda job: upload(job, uploads), undo=unbusy),
    }


def create(job: Job) -> Done:
    kept, pool, driver = place(job)
    if kept.value.phase is VolumePhase.READY:
        return Done(status=f"volume {kept.value.ref} is there")
    volume = kept.value
    found = call(
        job, volume, "making the volume", QUICK_S, lambda: driver.create_volume(pool, volume, deadline_s=QUICK_S)
    )
    return _ready(job, kept, found, "made")


def clone(job: Job) -> Done:
    kept, pool, driver = place(job)
    source = job.ground.view.volumes.get(volume_id(pool.name, str(job.task.args["source"])))
    if source is None:
        raise NotFound(f"there is no volume {pool.name}/{job.task.args['source']} to copy")
    with guest_off(job, source.value.ref, "copied"):
        found = call(
            job,
            kept.value,
            "copying the volume",
            LONG_S,
            lambda: driver.clone_volume(pool, source.value, kept.value, progress=job.progress, deadline_s=LONG_S),
        )
    return _ready(job, kept, found, f"copied from {source.value.ref}")


def uncreate(job: Job, error: PvcError) -> tuple[Write, ...]:
    """Leave no debris and no record of a volume that never came to be."""
    try:
        kept, pool, driver = place(job)
    except (NotFound, Permanent):
        return ()
    if kept.value.phase is VolumePhase.READY:
        return ()
    try:
        call(
            job,
            kept.value,
            "removing what was half-made",
            QUICK_S,
            lambda: driver.remove_volume(pool, kept.value, deadline_s=QUICK_S),
        )
    except Refused:
        job.ground.log.warning("another volume of that name is there; left alone", object=f"volume/{kept.value.ref}")
    return (Drop(layout.VOLUMES, volume_id(pool.name, kept.value.name), kept.version),)


def resize(job: Job) -> Done:
    kept, pool, driver = place(job)
    volume, size_bytes = kept.value, int(str(job.task.args["size_bytes"]))
    uuid = running_user(job, volume.ref)
    if uuid:
        _grow_in_use(job, uuid, volume, size_bytes)
        found = call(
            job,
            volume,
            "resizing the volume",
            QUICK_S,
            lambda: driver.resize_volume(pool, volume, size_bytes, in_use=True, deadline_s=QUICK_S),
        )
    else:
        with guest_off(job, volume.ref, "resized"):
            found = call(
                job,
                volume,
                "resizing the volume",
                QUICK_S,
                lambda: driver.resize_volume(pool, volume, size_bytes, in_use=False, deadline_s=QUICK_S),
            )
    new = replace(volume, size_bytes=found.size_bytes, task="")
    job.ground.hooks.notify("pvc_volume_resized", key=volume.id, volume=new, old_size_bytes=volume.size_bytes)
    return Done(status=f"volume {volume.ref} has {format_size(found.size_bytes)}", writes=(put(job, new),))


def rename(job: Job) -> Done:
    kept, pool, driver = place(job)
    volume, new_name = kept.value, str(job.task.args["new_name"])
    with guest_off(job, volume.ref, "renamed"):
        call(
            job,
            volume,
            "renaming the volume",
            QUICK_S,
            lambda: driver.rename_volume(pool, volume, new_name, deadline_s=QUICK_S),
        )
    new = replace(volume, name=new_name, task="")
    writes = (
        Drop(layout.VOLUMES, volume_id(pool.name, volume.name), kept.version),
        Add(layout.VOLUMES, volume_id(pool.name, new_name), new),
    )
    return Done(status=f"volume {volume.ref} is called {new.ref}", writes=writes)


def remove(job: Job) -> Done:
    """The record in phase REMOVING is the tombstone that entitles to this."""
    key = volume_id(str(job.task.args["pool"]), str(job.task.args["name"]))
    if job.ground.repository.find(layout.VOLUMES, key) is None:
        return Done(status="the volume is gone")
    kept, pool, driver = place(job)
    if kept.value.phase is not VolumePhase.REMOVING:
        raise Refused(f"volume {kept.value.ref} is not marked for removal")
    with guest_off(job, kept.value.ref, "removed"):
        call(
            job,
            kept.value,
            "removing the volume",
            QUICK_S,
            lambda: driver.remove_volume(pool, kept.value, deadline_s=QUICK_S),
        )
    job.ground.hooks.notify("pvc_volume_removed", key=kept.value.id, volume=kept.value)
    return Done(status=f"volume {kept.value.ref} is removed", writes=(Drop(layout.VOLUMES, key, kept.version),))


def upload(job: Job, uploads: Uploads) -> Done:
    """The bytes come over the peer channel (daemon/bytes.py); here only its end is put on record."""
    kept, _, _ = place(job)
    state = uploads.state(job.task.id)
    if state == "done":
        return Done(status=f"volume {kept.value.ref} holds the image", writes=(put(job, replace(kept.value, task="")),))
    if state == "running":
        raise Retry(f"taking an image into {kept.value.ref}", again_in_s=1.0)
    if state == "waiting":
        if job.ground.clock.wall_s() - job.task.asked_at_s < 15.0:
            raise Retry(f"waiting for the image of {kept.value.ref}", again_in_s=1.0)
        state = "the upload was cut off"
    raise Refused(state, help=f"volume {kept.value.ref} is as it was before; upload the image again")


def unbusy(job: Job, error: PvcError) -> tuple[Write, ...]:
    """The volume is free for other work again."""
    try:
        kept, _, _ = place(job)
    except (NotFound, Permanent):
        return ()
    return (put(job, replace(kept.value, task="")),) if kept.value.task == job.task.id else ()


# -- for these and snapshots.py ----------------------------------------------------------------------------------------


def place(job: Job) -> tuple[Kept[Volume], Pool, StorageDriver]:
    """The volume as the store has it now, its pool and driver. Raises NotFound, Permanent."""
    pool = job.ground.pool(str(job.task.args["pool"]))
    kept = job.ground.repository.find(layout.VOLUMES, volume_id(pool.name, str(job.task.args["name"])))
    if kept is None:
        raise NotFound(f"there is no volume {pool.name}/{job.task.args['name']}")
    return kept, pool, job.ground.driver(pool)


def put(job: Job, volume: Volume) -> Set:
    """Write over the record as it is now; only the task at work on a volume writes it."""
    id = volume_id(volume.pool, volume.name)
    return Set(layout.VOLUMES, id, volume, job.ground.repository.get(layout.VOLUMES, id).version)


def call(job: Job, volume: Volume, what: str, deadline_s: float, work):  # type: ignore[no-untyped-def]  # passes any result through
    return job.ground.calls(f"volume/{volume.id}", what, deadline_s, work)


def _ready(job: Job, kept: Kept[Volume], found: VolumeFound, verb: str) -> Done:
    volume = replace(kept.value, phase=VolumePhase.READY, task="", size_bytes=found.size_bytes, format=found.format)
    job.ground.hooks.notify("pvc_volume_created", key=volume.id, volume=volume)
    id = volume_id(volume.pool, volume.name)
    return Done(
        status=f"volume {volume.ref} of {format_size(volume.size_bytes)} is {verb}",
        writes=(Set(layout.VOLUMES, id, volume, kept.version),),
    )


def _grow_in_use(job: Job, uuid: str, volume: Volume, size_bytes: int) -> None:
    """While a guest has it open, whoever the driver names grows the image."""
    who = job.ground.plugins[job.ground.pool(volume.pool).driver].storage.capabilities.online_resize  # type: ignore[union-attr]  # a storage plugin
    if who == "":
        raise Refused(f"pool {volume.pool} cannot resize a volume in use", help="shut the VM down first")
    if who == "hypervisor":
        vm = job.ground.view.vm_wanted[uuid].value
        dev = next(disk.dev for disk in job.ground.descriptions.of(vm).disks if disk.volume == volume.ref)
        job.ground.calls(
            uuid,
            "resizing the disk",
            QUICK_S,
            lambda: job.ground.compute.resize_disk(uuid, dev, size_bytes, deadline_s=QUICK_S),
        )
