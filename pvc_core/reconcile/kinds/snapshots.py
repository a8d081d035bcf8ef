"""Tasks on a volume's snapshots: create, rename, rollback, remove."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from pvc_core.cluster.repository import Write
from pvc_core.errors import Exists, NotFound, Permanent, PvcError, Refused
from pvc_core.model.storage import Snapshot, Volume
from pvc_core.reconcile.kinds.guest_off import guest_off, running_user
from pvc_core.reconcile.kinds.volumes import LONG_S, QUICK_S, call, place, put, unbusy
from pvc_core.reconcile.task import Done, Job, TaskKind


def create(job: Job) -> Done:
    kept, pool, driver = place(job)
    volume, args = kept.value, job.task.args
    snapshot = Snapshot(
        name=str(args["snapshot"]),
        id=str(args["id"]),
        size_bytes=volume.size_bytes,
        created_at_s=job.ground.clock.wall_s(),
    )
    with _allowed(job, volume, "snapshotted") as in_use:
        call(
            job,
            volume,
            "taking the snapshot",
            QUICK_S,
            lambda: driver.create_snapshot(pool, volume, snapshot, in_use=in_use, deadline_s=QUICK_S),
        )
    new = replace(volume, task="", snapshots=(*(old for old in volume.snapshots if old.id != snapshot.id), snapshot))
    return Done(status=f"snapshot {snapshot.name} of {volume.ref} is taken", writes=(put(job, new),))


def uncreate(job: Job, error: PvcError) -> tuple[Write, ...]:
    """No snapshot is on disk that no record tells of: it is removed, or put on record where it cannot be."""
    try:
        kept, pool, driver = place(job)
    except (NotFound, Permanent):
        return ()
    volume, id = kept.value, str(job.task.args["id"])
    if volume.task != job.task.id or any(old.id == id for old in volume.snapshots):
        return unbusy(job, error)
    half = Snapshot(
        name=str(job.task.args["snapshot"]),
        id=id,
        size_bytes=volume.size_bytes,
        created_at_s=job.ground.clock.wall_s(),
    )
    try:
        call(
            job,
            volume,
            "removing the half-made snapshot",
            QUICK_S,
            lambda: driver.remove_snapshot(pool, volume, half, deadline_s=QUICK_S),
        )
    except (Refused, NotFound, Exists, Permanent) as left:
        job.ground.log.warning(f"snapshot {half.name} is not removed: {left}", object=f"volume/{volume.ref}")
        found = call(job, volume, "looking for it", QUICK_S, lambda: driver.list_volumes(pool, deadline_s=QUICK_S))
        if any(one.id == volume.id and half.name in one.snapshots for one in found):
            return (put(job, replace(volume, task="", snapshots=(*volume.snapshots, half))),)
    return unbusy(job, error)


def rename(job: Job) -> Done:
    kept, pool, driver = place(job)
    volume, snapshot, new_name = kept.value, _snapshot(kept.value, job), str(job.task.args["new_name"])
    with _allowed(job, volume, "changed"):
        call(
            job,
            volume,
            "renaming the snapshot",
            QUICK_S,
            lambda: driver.rename_snapshot(pool, volume, snapshot, new_name, deadline_s=QUICK_S),
        )
    changed = tuple(replace(old, name=new_name) if old.id == snapshot.id else old for old in volume.snapshots)
    return Done(
        status=f"snapshot {snapshot.name} of {volume.ref} is called {new_name}",
        writes=(put(job, replace(volume, task="", snapshots=changed)),),
    )


def rollback(job: Job) -> Done:
    kept, pool, driver = place(job)
    volume, snapshot = kept.value, _snapshot(kept.value, job)
    with guest_off(job, volume.ref, "rolled back"):
        call(
            job,
            volume,
            "rolling back",
            LONG_S,  # it may write all of a large volume, and begun anew would never come to its end
            lambda: driver.rollback_snapshot(pool, volume, snapshot, deadline_s=LONG_S),
        )
    return Done(
        status=f"{volume.ref} is as it was at {snapshot.name}",
        writes=(put(job, replace(volume, task="", size_bytes=snapshot.size_bytes)),),
    )


def remove(job: Job) -> Done:
    kept, pool, driver = place(job)
    volume, snapshot = kept.value, _snapshot(kept.value, job)
    with _allowed(job, volume, "changed"):
        call(
            job,
            volume,
            "removing the snapshot",
            QUICK_S,
            lambda: driver.remove_snapshot(pool, volume, snapshot, deadline_s=QUICK_S),
        )
    left = tuple(old for old in volume.snapshots if old.id != snapshot.id)
    return Done(
        status=f"snapshot {snapshot.name} of {volume.ref} is removed",
        writes=(put(job, replace(volume, task="", snapshots=left)),),
    )


@contextmanager
def _allowed(job: Job, volume: Volume, doing: str) -> Iterator[bool]:
    """Whether a guest uses it; if the pool's driver cannot do this under a guest, the guest must be off."""
    driver = job.ground.pool(volume.pool).driver
    storage = job.ground.plugins[driver].storage
    if running_user(job, volume.ref):
        if storage is None or not storage.capabilities.online_snapshots:
            raise Refused(
                f"the snapshots of {volume.ref} cannot be {doing} while a guest uses it: "
                f"driver {driver} lacks the capability 'online_snapshots'",
                help="shut the VM down first",
            )
        yield True
    else:
        with guest_off(job, volume.ref, doing):
            yield False


def _snapshot(volume: Volume, job: Job) -> Snapshot:
    for snapshot in volume.snapshots:
        if snapshot.name == job.task.args["snapshot"]:
            return snapshot
    raise NotFound(
        f"volume {volume.ref} has no snapshot {job.task.args['snapshot']!r}", help="was it removed meanwhile?"
    )


KINDS: Mapping[str, TaskKind] = {
    "volume.snapshot_create": TaskKind(do=create, undo=uncreate),
    "volume.snapshot_rename": TaskKind(do=rename, undo=unbusy),
    "volume.snapshot_rollback": TaskKind(do=rollback, undo=unbusy),
    "volume.snapshot_remove": TaskKind(do=remove, undo=unbusy),
}
