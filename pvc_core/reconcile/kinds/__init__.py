"""The steps of each kind of task. `all_kinds` is the table; a new kind is a function here and a line there."""

from __future__ import annotations

from collections.abc import Mapping

from pvc_core.reconcile.kinds import (
    networks,
    nodes,
    orders,
    plugins,
    pools,
    rebalance,
    restore,
    sharing,
    snapshots,
    vms,
    volumes,
)  # fmt: skip
from pvc_core.reconcile.task import TaskKind
from pvc_core.reconcile.vm_start import Starter


def all_kinds(
    starter: Starter, uploads: volumes.Uploads, restores: restore.Restores | None = None
) -> Mapping[str, TaskKind]:
    return {
        **pools.KINDS,
        **volumes.kinds(uploads),
        **sharing.kinds(uploads),
        **snapshots.KINDS,
        **vms.kinds(starter),
        **plugins.KINDS,
        **nodes.kinds(),
        **networks.KINDS,
        **orders.KINDS,
        **rebalance.KINDS,
        **restore.kinds(restores),
    }
