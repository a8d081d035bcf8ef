"""Tasks on volumes that share or take over data: thin clones, flattening, diffs, what was made outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pvc_core.cluster import layout
from pvc_core.cluster.layout import volume_id
from pvc_core.cluster.repository import Drop, Set, Write
from pvc_core.contracts.storage import adopted_id
from pvc_core.errors import Exists, NotFound, Permanent, PvcError, Refused
from pvc_core.model.storage import Snapshot, Volume, VolumeFound, VolumePhase
from pvc_core.reconcile.kinds.guest_off import guest_off
from pvc_core.reconcile.kinds.volumes import (
    LONG_S,
    QUICK_S,
    Uploads,
    call,
    let_go,
    place,
    put,
    ready,
    unbusy,
    unclone,
    waits_for_bytes,
)
from pvc_core.reconcile.task import Done, Job, TaskKind
from pvc_core.units import format_size


def kinds(uploads: Uploads) -> Mapping[str, TaskKind]:
    return {
        "volume.clone_thin": TaskKind(do=clone_thin, undo=unclone),
        "volume.flatten": TaskKind(do=flatten, undo=unbusy),
        "volume.scan": TaskKind(do=scan, undo=unbusy),
        "volume.adopt": TaskKind(do=adopt, undo=unadopt),
        "volume.apply": TaskKind(do=lambda job: apply(job, uploads), undo=unapply, patient=True),
    }


def clone_thin(job: Job) -> Done:
    kept, pool, driver = place(job)
    source = job.ground.repository.find(layout.VOLUMES, volume_id(pool.name, str(job.task.args["source"])))
    if source is None:
        raise NotFound(f"there is no volume {pool.name}/{job.task.args['source']} to clone")
    with guest_off(job, source.value.ref, "cloned"):
        found = call(
            job,
            kept.value,
            "cloning the volume",
            QUICK_S,
            lambda: driver.clone_thin(pool, source.value, kept.value, deadline_s=QUICK_S),
        )
    child = replace(kept, value=replace(kept.value, parent=source.value.id))
    done = ready(job, child, found, f"cloned from {source.value.ref}")
    return replace(done, writes=(*done.writes, *let_go(job, source.value.name)))


def flatten(job: Job) -> Done:
    kept, pool, driver = place(job)
    volume = kept.value
    call(
        job,
        volume,
        "flattening the volume",
        LONG_S,
        lambda: driver.flatten_volume(pool, volume, progress=job.progress, deadline_s=LONG_S),
    )
    return Done(
        status=f"volume {volume.ref} shares nothing any more",
        writes=(put(job, replace(volume, task="", parent="")),),
    )


def scan(job: Job) -> Done:
    """Its size as the driver finds it: somebody may have changed it behind our back."""
    kept, _, _ = place(job)
    found = _found(job, kept.value)
    if found is None:
        raise NotFound(
            f"the bytes of volume {kept.value.ref} are missing",
            help="they are never made anew; restore them, or remove the volume",
        )
    new = replace(kept.value, task="", size_bytes=found.size_bytes)
    return Done(status=f"volume {new.ref} has {format_size(new.size_bytes)}", writes=(put(job, new),))


def adopt(job: Job) -> Done:
    kept, pool, driver = place(job)
    found = call(
        job,
        kept.value,
        "taking over the volume",
        QUICK_S,
        lambda: driver.adopt_volume(pool, kept.value, deadline_s=QUICK_S),
    )
    snapshots = tuple(
        Snapshot(name=name, id=adopted_id(kept.value.id, name), size_bytes=found.size_bytes) for name in found.snapshots
    )
    return ready(job, replace(kept, value=replace(kept.value, snapshots=snapshots)), found, "taken over")


def unadopt(job: Job, error: PvcError) -> tuple[Write, ...]:
    """It was somebody else's before: nothing is destroyed. What the driver took over already stays a volume."""
    id = volume_id(str(job.task.args["pool"]), str(job.task.args["name"]))
    kept = job.ground.repository.find(layout.VOLUMES, id)
    if kept is None or kept.value.phase is not VolumePhase.CREATING or kept.value.task != job.task.id:
        return ()
    try:
        found = _found(job, kept.value)
    except (NotFound, Permanent, Refused):
        found = None
    if found is None:
        return (Drop(layout.VOLUMES, id, kept.version),)
    volume = replace(kept.value, phase=VolumePhase.READY, task="", size_bytes=found.size_bytes)
    return (Set(layout.VOLUMES, id, volume, kept.version),)


def apply(job: Job, uploads: Uploads) -> Done:
    """A diff's bytes come like an image's (daemon/bytes.py); its snapshot and size are put on record here."""
    kept, _, _ = place(job)
    volume, state = kept.value, uploads.state(job.task.id)
    if state != "done":
        waits_for_bytes(job, uploads, state)
        raise Refused(state, help="the volume is as before")
    found = _found(job, volume)
    if found is None:
        raise Permanent(f"the bytes of volume {volume.ref} are missing")
    snapshot = _snapshot(job, found.size_bytes)
    new = replace(volume, task="", size_bytes=found.size_bytes, snapshots=(*volume.snapshots, snapshot))
    return Done(
        status=f"volume {volume.ref} is at snapshot {snapshot.name}",
        result=uploads.result(job.task.id),
        writes=(put(job, new),),
    )


def unapply(job: Job, error: PvcError) -> tuple[Write, ...]:
    """What was cut off by a daemon's death is undone: the volume was as in `since`, and is so again."""
    try:
        kept, pool, driver = place(job)
        volume = kept.value
        half = _snapshot(job, volume.size_bytes)
        since = next((one for one in volume.snapshots if one.name == job.task.args["since"]), None)
        if volume.task == job.task.id:
            if since is not None:
                call(
                    job,
                    volume,
                    "undoing the diff",
                    QUICK_S,
                    lambda: driver.rollback_snapshot(pool, volume, since, deadline_s=QUICK_S),
                )
            call(
                job,
                volume,
                "removing the diff's snapshot",
                QUICK_S,
                lambda: driver.remove_snapshot(pool, volume, half, deadline_s=QUICK_S),
            )
    except (Refused, NotFound, Exists, Permanent) as left:
        job.ground.log.warning(f"a diff is not undone: {left}", object=f"task/{job.task.id}")
    return unbusy(job, error)


def _snapshot(job: Job, size_bytes: int) -> Snapshot:
    args = job.task.args
    return Snapshot(
        name=str(args["snapshot"]),
        id=str(args["id"]),
        size_bytes=size_bytes,
        created_at_s=job.ground.clock.wall_s(),
    )


def _found(job: Job, volume: Volume) -> VolumeFound | None:
    """As its driver lists it."""
    pool = job.ground.pool(volume.pool)
    driver = job.ground.driver(pool)
    found: list[VolumeFound] = call(
        job, volume, "looking for the volume", QUICK_S, lambda: driver.list_volumes(pool, deadline_s=QUICK_S)
    )
    return next((one for one in found if one.id == volume.id), None)
