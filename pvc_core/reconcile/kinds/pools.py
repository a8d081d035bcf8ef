"""Tasks on pools: add and remove. Keeping a pool usable on every node is reconcile/pool.py."""

from __future__ import annotations

from collections.abc import Mapping

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Drop, Write
from pvc_core.errors import PvcError, Refused
from pvc_core.reconcile.task import Done, Job, TaskKind

POOL_S = 60.0


def add(job: Job) -> Done:
    pool = job.ground.pool(str(job.task.args["pool"]))
    driver = job.ground.driver(pool)
    job.ground.calls(
        f"pool/{pool.name}", "making the pool", POOL_S, lambda: driver.ensure_pool(pool, deadline_s=POOL_S)
    )
    return Done(status=f"pool {pool.name} is made")


def unadd(job: Job, error: PvcError) -> tuple[Write, ...]:
    """Forget the pool, unless somebody made a volume in it meanwhile (another node can use it)."""
    kept = job.ground.repository.find(layout.POOLS, str(job.task.args["pool"]))
    if kept is None or any(volume.value.pool == kept.value.name for volume in job.ground.view.volumes.values()):
        return ()
    return (Drop(layout.POOLS, kept.value.name, kept.version),)


def change(job: Job) -> Done:
    pool = job.ground.pool(str(job.task.args["pool"]))
    driver = job.ground.driver(pool)
    job.ground.calls(
        f"pool/{pool.name}", "changing the pool", POOL_S, lambda: driver.change_pool(pool, deadline_s=POOL_S)
    )
    return Done(status=f"pool {pool.name} is as wanted")


def remove(job: Job) -> Done:
    name = str(job.task.args["pool"])
    kept = job.ground.repository.find(layout.POOLS, name)
    if kept is None:
        return Done(status=f"pool {name} is gone")
    job.ground.keeper.settle(inline=job.ground.inline)
    left = [volume.value.name for volume in job.ground.view.volumes.values() if volume.value.pool == name]
    if left:
        raise Refused(
            f"pool {name} holds {len(left)} volumes ({', '.join(sorted(left)[:5])})", help="remove them first"
        )
    driver = job.ground.driver(kept.value)
    job.ground.calls(
        f"pool/{name}", "removing the pool", POOL_S, lambda: driver.remove_pool(kept.value, deadline_s=POOL_S)
    )
    return Done(status=f"pool {name} is removed", writes=(Drop(layout.POOLS, name, kept.version),))


KINDS: Mapping[str, TaskKind] = {
    "pool.add": TaskKind(do=add, undo=unadd),
    "pool.change": TaskKind(do=change),
    "pool.remove": TaskKind(do=remove),
}
