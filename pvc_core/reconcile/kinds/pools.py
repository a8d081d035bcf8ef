"""Tasks on pools: add, change, look into one before anything of it is removed, remove.

Keeping a pool usable on every node is reconcile/pool.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Drop, Write
from pvc_core.errors import NotFound, Permanent, PvcError, Refused
from pvc_core.reconcile.task import Done, Job, TaskKind

POOL_S = 60.0
SHOWN = 5
"""Names in a sentence."""


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


def look(job: Job) -> Done:
    """Raises Refused when the pool holds what is no volume of this cluster: it would stay after all volumes went."""
    pool = job.ground.pool(str(job.task.args["pool"]))
    driver = job.ground.driver(pool)
    job.ground.keeper.settle(inline=job.ground.inline)
    ours = {kept.value.id for kept in job.ground.view.volumes.values()}

    def strangers_in() -> list[str]:
        found = driver.list_volumes(pool, deadline_s=POOL_S)
        others = driver.strangers(pool, deadline_s=POOL_S)
        return [*sorted(one.name for one in found if one.id not in ours), *others]

    try:
        strangers = job.ground.calls(f"pool/{pool.name}", "looking into the pool", 2 * POOL_S, strangers_in)
    except (NotFound, Permanent) as error:  # it may be gone; the driver removes none that holds anything
        return Done(status=f"pool {pool.name} cannot be looked into: {error}")
    if strangers:
        more = f" and {len(strangers) - SHOWN} more" if len(strangers) > SHOWN else ""
        raise Refused(
            f"pool {pool.name} cannot be removed: it holds what is no volume of this cluster "
            f"({', '.join(strangers[:SHOWN])}{more})",
            help="take volumes over (`pvc storage volume scan`), remove there what nobody needs; nothing was removed",
        )
    return Done(status=f"pool {pool.name} holds volumes of this cluster only")


def remove(job: Job) -> Done:
    name = str(job.task.args["pool"])
    kept = job.ground.repository.find(layout.POOLS, name)
    if kept is None:
        return Done(status=f"pool {name} is gone")
    job.ground.keeper.settle(inline=job.ground.inline)
    left = [volume.value.name for volume in job.ground.view.volumes.values() if volume.value.pool == name]
    if left:
        raise Refused(
            f"pool {name} holds {len(left)} volumes ({', '.join(sorted(left)[:SHOWN])})", help="remove them first"
        )
    driver = job.ground.driver(kept.value)
    job.ground.calls(
        f"pool/{name}", "removing the pool", POOL_S, lambda: driver.remove_pool(kept.value, deadline_s=POOL_S)
    )
    return Done(status=f"pool {name} is removed", writes=(Drop(layout.POOLS, name, kept.version),))


KINDS: Mapping[str, TaskKind] = {
    "pool.add": TaskKind(do=add, undo=unadd),
    "pool.change": TaskKind(do=change),
    "pool.look": TaskKind(do=look),
    "pool.remove": TaskKind(do=remove),
}
