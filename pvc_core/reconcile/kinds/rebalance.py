"""The task that carries out a rebalance (policy/rebalance.py): each planned move is asked for as there is room, and is
done when the VM lives there. What has changed since the plan was made is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set
from pvc_core.errors import Refused, Retry
from pvc_core.model.vm import Want
from pvc_core.policy.evacuation import names, on_their_way
from pvc_core.policy.placement import crowded, destination, loads, need_of, objection
from pvc_core.reconcile.task import Done, Job, TaskKind

LOOK_S = 0.5


@dataclass(slots=True)
class _Stand:
    """By UUID, in words. `to_ask`: where to."""

    done: set[str] = field(default_factory=set)
    moving: dict[str, str] = field(default_factory=dict)
    not_moved: dict[str, str] = field(default_factory=dict)
    to_ask: dict[str, str] = field(default_factory=dict)


def run(job: Job) -> Done:
    """Raises Refused naming the VMs that were not moved, Retry (under way)."""
    planned: Any = job.task.args["moves"]
    moves = [dict(move) for move in planned]
    if not moves:
        return Done(status="nothing was moved: memory is given out evenly enough, and every rule is kept")
    stand = _stand(job, moves)
    while stand.to_ask and on_their_way(job.ground.view) < job.ground.parallel_migrations:
        asked = next((uuid for uuid, target in stand.to_ask.items() if not _hindrance(job, uuid, target)), None)
        if asked is None:
            break
        _ask(job, asked, stand.to_ask[asked])
        stand = _stand(job, moves)
    if stand.to_ask and not stand.moving:
        stand.not_moved |= {uuid: _hindrance(job, uuid, target) for uuid, target in stand.to_ask.items()}
        stand.not_moved = {uuid: why for uuid, why in stand.not_moved.items() if why}
    if len(stand.done) + len(stand.not_moved) < len(moves):
        raise _under_way(job, stand, len(moves))
    if stand.not_moved:
        why = names(job.ground.view, stand.not_moved)
        raise Refused(f"{len(stand.done)} of {len(moves)} VMs were moved; {why}", help="`pvc cluster rebalance` again")
    return Done(status=f"{len(moves)} VM{'s were' if len(moves) > 1 else ' was'} moved", result={"vms": len(moves)})


KINDS = {"cluster.rebalance": TaskKind(do=run, patient=True)}


def _stand(job: Job, moves: list[dict[str, Any]]) -> _Stand:
    view, stand = job.ground.view, _Stand()
    for move in moves:
        uuid, source, target = str(move["uuid"]), str(move["source"]), str(move["target"])
        kept, claim, seen = view.vm_wanted.get(uuid), view.claims.get(uuid), view.vm_seen.get(uuid)
        if kept is None or claim is None:
            stand.done.add(uuid)  # removed meanwhile: nothing is left to move
        elif destination(view, uuid) is not None:
            stand.moving[uuid] = seen.value.sentence if seen else "waits"
        elif claim.value.holder == target:
            stand.done.add(uuid)
        elif kept.value.move_order == job.task.id:
            reason = seen.value.move_reason if seen else ""
            stand.not_moved[uuid] = reason or "it was asked to stay meanwhile"
        elif claim.value.holder != source or kept.value.want is not Want.START:
            stand.not_moved[uuid] = f"it is on {claim.value.holder}, and wanted to {kept.value.want}, meanwhile"
        else:
            stand.to_ask[uuid] = target
    return stand


def _hindrance(job: Job, uuid: str, target: str) -> str:
    view, describe = job.ground.view, job.ground.descriptions.of
    vm = view.vm_wanted[uuid].value
    need, load = need_of(view, vm, describe(vm)), loads(view, describe, besides=uuid)
    why = objection(view, need, target, load) or crowded(view, need, target, describe, load)
    return f"{target}: {why}" if why else ""


def _ask(job: Job, uuid: str, target: str) -> None:
    kept = job.ground.view.vm_wanted[uuid]
    by = f" ({job.task.asked_by})" if job.task.asked_by else ""
    new = replace(
        kept.value,
        move=kept.value.move + 1,
        target=target,
        last_node=None,
        live_only=True,
        move_order=job.task.id,
        move_tried=(),
        asked_by=f"rebalance{by}",
        asked_at_s=job.ground.clock.wall_s(),
    )
    job.ground.commit(job.ground.lead(), Set(layout.VM_WANTED, uuid, new, kept.version))


def _under_way(job: Job, stand: _Stand, total: int) -> Retry:
    said: Mapping[str, str] = stand.moving
    on_way = f"; {names(job.ground.view, said)}" if said else ""
    sentence = f"{len(stand.done)} of {total} VMs moved{on_way}"
    if (len(stand.done), total, sentence) != (job.task.current, job.task.total, job.task.status):
        job.progress(len(stand.done), total, sentence)
    return Retry(sentence, again_in_s=LOOK_S)
