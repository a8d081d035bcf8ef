"""Tasks on volumes: create, clone, resize, rename, remove, upload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from pvc_core.cluster import layout
from pvc_core.cluster.layout import volume_id
from pvc_core.cluster.repository import Add, Drop, Set, Write
from pvc_core.contracts.storage import StorageDriver
from pvc_core.errors import Exists, NotFound, Permanent, PvcError, Refused, Retry
from pvc_core.model.storage import Pool, Volume, VolumeFound, VolumePhase
from pvc_core.model.view import Kept
from pvc_core.reconcile.kinds.guest_off import guest_off, running_user
from pvc_core.reconcile.task import Done, Job, TaskKind, Told
from pvc_core.units import format_size

QUICK_S, LONG_S, UPLOAD_BEGINS_S = 60.0, 86_400.0, 15.0


class Uploads(Protocol):
    """Uploads under way in this daemon, by task id (daemon/bytes.py)."""

    def state(self, task_id: str) -> str:
        """ "waiting" (none has come yet), "running", "done", or the sentence why it failed."""

    def progress(self, task_id: str) -> tuple[int, int, str]:
        """(bytes that came, bytes announced, sentence)."""

    def result(self, task_id: str) -> dict[str, object]:
        """Of one that is done."""


def kinds(uploads: Uploads) -> Mapping[str, TaskKind]:
    return {
        "volume.create": TaskKind(do=create, undo=uncreate),
        "volume.clone": TaskKind(do=clone, undo=unclone),
        "volume.resize": TaskKind(do=resize, undo=unbusy),
        "volume.rename": TaskKind(do=rename, undo=unrename),
        "volume.remove": TaskKind(do=remove, undo=unremove),
        "volume.upload": TaskKind(do=lambda job: upload(job, uploads), undo=unbusy, patient=True),
    }


def create(job: Job) -> Done:
    kept, pool, driver = place(job)
    if kept.value.phase is VolumePhase.READY:
        return Done(status=f"volume {kept.value.ref} is there")
    volume = kept.value
    found = call(
        job, volume, "making the volume", QUICK_S, lambda: driver.create_volume(pool, volume, deadline_s=QUICK_S)
    )
    return ready(job, kept, found, "made")


def clone(job: Job) -> Done:
    """The source is busy too: nothing else may change it while it is copied."""
    kept, pool, driver = place(job)
    source = job.ground.repository.find(layout.VOLUMES, volume_id(pool.name, str(job.task.args["source"])))
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
    done = ready(job, kept, found, f"copied from {source.value.ref}")
    return replace(done, writes=(*done.writes, *let_go(job, source.value.name)))


def unclone(job: Job, error: PvcError) -> tuple[Write, ...]:
    return (*uncreate(job, error), *let_go(job, str(job.task.args["source"])))


def uncreate(job: Job, error: PvcError) -> tuple[Write, ...]:
    """Leave no debris and no record of a volume that never came to be; debris that stays keeps a tombstone."""
    id = volume_id(str(job.task.args["pool"]), str(job.task.args["name"]))
    kept = job.ground.repository.find(layout.VOLUMES, id)
    if kept is None or kept.value.phase is not VolumePhase.CREATING or kept.value.task != job.task.id:
        return ()
    if job.ground.repository.find(layout.POOLS, kept.value.pool) is None:
        return (Drop(layout.VOLUMES, id, kept.version),)
    try:
        pool = job.ground.pool(kept.value.pool)
        driver = job.ground.driver(pool)
        call(
            job,
            kept.value,
            "removing what was half-made",
            QUICK_S,
            lambda: driver.remove_volume(pool, kept.value, deadline_s=QUICK_S),
        )
        left = False
    except (Refused, NotFound, Exists, Permanent) as why:
        job.ground.log.warning(f"not removed: {why}", object=f"volume/{kept.value.ref}")
        left = isinstance(why, Permanent) or _is_there(job, kept.value)
    if left:
        return (Set(layout.VOLUMES, id, replace(kept.value, phase=VolumePhase.REMOVING), kept.version),)
    return (Drop(layout.VOLUMES, id, kept.version),)


def resize(job: Job) -> Done:
    kept, pool, driver = place(job)
    volume, size_bytes = kept.value, int(str(job.task.args["size_bytes"]))
    uuid = running_user(job, volume.ref)
    if uuid:
        found = _grow_in_use(job, uuid, volume, size_bytes)
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
    args: dict[str, object] = {"volume": new, "old_size_bytes": volume.size_bytes}
    return Done(
        status=f"volume {volume.ref} has {format_size(found.size_bytes)}",
        writes=(put(job, new),),
        told=(Told(hook="pvc_volume_resized", key=volume.id, args=args),),
    )


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


def unrename(job: Job, error: PvcError) -> tuple[Write, ...]:
    """The bytes have the record's name again, should they have got the new one. Refused means that they have not."""
    if isinstance(error, Refused | Exists | NotFound):
        return unbusy(job, error)
    try:
        kept, pool, driver = place(job)
        call(
            job,
            kept.value,
            "giving the volume its old name",
            QUICK_S,
            lambda: driver.rename_volume(pool, kept.value, kept.value.name, deadline_s=QUICK_S),
        )
    except (Refused, NotFound, Exists, Permanent) as left:
        job.ground.log.warning(f"cannot be named as before: {left}", object=f"task/{job.task.id}")
    return unbusy(job, error)


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
    return Done(
        status=f"volume {kept.value.ref} is removed",
        writes=(Drop(layout.VOLUMES, key, kept.version),),
        told=(Told(hook="pvc_volume_removed", key=kept.value.id, args={"volume": kept.value}),),
    )


def unremove(job: Job, error: PvcError) -> tuple[Write, ...]:
    """Refused means that nothing was changed (a guest uses it): it is a volume like others again, and names the task
    that tried. After any other failure it stays marked, and may be removed once more.
    """
    kept = job.ground.repository.find(layout.VOLUMES, volume_id(str(job.task.args["pool"]), str(job.task.args["name"])))
    if not isinstance(error, Refused) or kept is None or kept.value.task != job.task.id:
        return ()
    if not _is_there(job, kept.value):  # what bears its name is another volume; its own bytes are gone already
        return (Drop(layout.VOLUMES, volume_id(kept.value.pool, kept.value.name), kept.version),)
    return (put(job, replace(kept.value, phase=VolumePhase.READY)),)


def upload(job: Job, uploads: Uploads) -> Done:
    """The bytes come over the peer channel (daemon/bytes.py); here only its end is put on record."""
    kept, _, _ = place(job)
    state = uploads.state(job.task.id)
    if state == "done":
        return Done(
            status=f"volume {kept.value.ref} holds the image",
            result=uploads.result(job.task.id),
            writes=(put(job, replace(kept.value, task="", parent="")),),
        )
    waits_for_bytes(job, uploads, state)
    raise Refused(state, help="the volume holds its old content, or all of the new; upload the image again")


def waits_for_bytes(job: Job, uploads: Uploads, state: str) -> None:
    """Raises Retry while they come or may come, Refused when they will not."""
    kept, _, _ = place(job)
    if state == "running":
        current, total, sentence = uploads.progress(job.task.id)
        said = f"taking bytes into {kept.value.ref}: {sentence or 'none yet'}"
        job.progress(current, total, said)
        raise Retry(said, again_in_s=1.0)
    if state == "waiting":
        if job.waited_s < UPLOAD_BEGINS_S:
            raise Retry(f"waiting for the image of {kept.value.ref}", again_in_s=1.0)
        raise Refused(
            f"the upload into {kept.value.ref} was cut off",
            help="the volume holds its old content, or all of the new; upload the image again",
        )


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


def ready(job: Job, kept: Kept[Volume], found: VolumeFound, verb: str) -> Done:
    volume = replace(kept.value, phase=VolumePhase.READY, task="", size_bytes=found.size_bytes, format=found.format)
    id = volume_id(volume.pool, volume.name)
    return Done(
        status=f"volume {volume.ref} of {format_size(volume.size_bytes)} is {verb}",
        writes=(Set(layout.VOLUMES, id, volume, kept.version),),
        told=(Told(hook="pvc_volume_created", key=volume.id, args={"volume": volume}),),
    )


def _is_there(job: Job, volume: Volume) -> bool:
    """Whether its driver has bytes under its id."""
    pool = job.ground.pool(volume.pool)
    driver = job.ground.driver(pool)
    found = call(job, volume, "looking for the volume", QUICK_S, lambda: driver.list_volumes(pool, deadline_s=QUICK_S))
    return any(one.id == volume.id for one in found)


def let_go(job: Job, name: str) -> tuple[Write, ...]:
    """The volume this task kept busy beside its own is free for other work."""
    kept = job.ground.repository.find(layout.VOLUMES, volume_id(str(job.task.args["pool"]), name))
    if kept is None or kept.value.task != job.task.id:
        return ()
    return (Set(layout.VOLUMES, volume_id(kept.value.pool, name), replace(kept.value, task=""), kept.version),)


def _grow_in_use(job: Job, uuid: str, volume: Volume, size_bytes: int) -> VolumeFound:
    """While a guest has it open, whoever the driver names grows the image; the hypervisor shows the guest the size."""
    pool = job.ground.pool(volume.pool)
    driver = job.ground.driver(pool)
    who = job.ground.plugins[job.ground.pool(volume.pool).driver].storage.capabilities.online_resize  # type: ignore[union-attr]  # a storage plugin
    if who == "":
        raise Refused(
            f"volume {volume.ref} cannot be resized while a guest uses it: "
            f"the driver of pool {volume.pool} lacks the capability 'online_resize'",
            help="shut the VM down first",
        )
    if size_bytes < volume.size_bytes:
        raise Refused(f"volume {volume.ref} cannot become smaller while a guest uses it", help="shut the VM down first")
    dev = _device_of(job, uuid, volume)

    def by_hypervisor() -> None:
        job.ground.compute.resize_disk(uuid, dev, size_bytes, deadline_s=QUICK_S)

    def by_driver() -> VolumeFound:
        return driver.resize_volume(pool, volume, size_bytes, in_use=True, deadline_s=QUICK_S)

    if who == "hypervisor":
        job.ground.calls(uuid, "resizing the disk", QUICK_S, by_hypervisor)
        return call(job, volume, "resizing the volume", QUICK_S, by_driver)
    found = call(job, volume, "resizing the volume", QUICK_S, by_driver)
    job.ground.calls(uuid, "showing the guest that its disk grew", QUICK_S, by_hypervisor)
    return found


def _device_of(job: Job, uuid: str, volume: Volume) -> str:
    """The guest's device for the volume, by the definition."""
    vm = job.ground.view.vm_wanted.get(uuid)
    disks = job.ground.descriptions.of(vm.value).disks if vm else ()
    dev = next((disk.dev for disk in disks if disk.volume == volume.ref), None)
    if dev is None:
        raise Refused(
            f"volume {volume.ref} is in the running guest, but not in its definition; which disk it is is not known",
            help="add the disk to the VM's definition, or detach it first",
        )
    return dev
