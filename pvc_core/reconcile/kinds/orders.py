"""Tasks that tell how far a node's flush or its getting ready is, and how it ended. What is done about it is
flush.py's: it goes on as long as the order holds, also when the task that told of it has failed.
"""

from __future__ import annotations

from pvc_core.errors import Refused, Retry
from pvc_core.model.node import DaemonState, DomainState, NodeSeen, NodeWanted
from pvc_core.policy.evacuation import Work, emptying, names, refilling
from pvc_core.reconcile.task import Done, Job, TaskKind

LOOK_S = 0.5
SILENT_S = 120.0
"""How long the node's pvcnoded may be away (it is restarted) before its order is called failed."""


def flush(job: Job) -> Done:
    """Raises Refused (guests cannot leave, or the order holds no more), Retry (under way)."""
    node, view = str(job.task.args["node"]), job.ground.view
    wanted, seen = _order(job, node)
    work = emptying(view, node, job.ground.descriptions.of)
    total = _total(job, work)
    if seen.domain_state is DomainState.FLUSHED and seen.order_done == job.task.id:
        return Done(status=f"node {node} is flushed: {_vms(total)} left it", result={"vms": total})
    if work.stuck and not (work.ask or work.moving or wanted.leaving):
        why = names(view, work.stuck)
        raise Refused(
            f"node {node} is not flushed: {len(work.stuck)} of {total} VMs cannot leave: {why}",
            help=f"mend that or shut them down, and it is flushed by itself; or `pvc node ready {node}`",
        )
    return _under_way(job, work, total, f"have left {node}")


def ready(job: Job) -> Done:
    """Raises Refused (the order holds no more), Retry (under way)."""
    node, view = str(job.task.args["node"]), job.ground.view
    _, seen = _order(job, node)
    if seen.domain_state is DomainState.READY and seen.order_done == job.task.id:
        back = f"; {_vms(job.task.total)} came back" if job.task.total else ""
        return Done(status=f"{seen.sentence}{back}", result={"vms": job.task.total})
    if seen.domain_state is not DomainState.UNFLUSH:
        raise Retry(f"waiting for node {node} to read its order", again_in_s=LOOK_S)
    work = refilling(view, node, job.ground.descriptions.of)
    return _under_way(job, work, _total(job, work), f"are back on {node}")


KINDS = {"node.flush": TaskKind(do=flush, patient=True), "node.ready": TaskKind(do=ready, patient=True)}


def _order(job: Job, node: str) -> tuple[NodeWanted, NodeSeen]:
    view = job.ground.view
    wanted, seen = view.node_wanted.get(node), view.node_seen.get(node)
    if seen is None:
        raise Refused(f"node {node} was removed")
    if wanted is None:
        raise Retry(f"waiting for the order to node {node}", again_in_s=LOOK_S)
    if wanted.value.order != job.task.id:
        by = f" by {wanted.value.asked_by}" if wanted.value.asked_by else ""
        raise Refused(f"called off: node {node} was asked{by} to be {wanted.value.domain_state} instead")
    if seen.value.daemon_state is not DaemonState.RUN:
        said = f"pvcnoded of node {node} is in state {seen.value.daemon_state}"
        if job.waited_s > SILENT_S:
            raise Refused(f"{said}, so its guests do not move", help="start it; the order holds until it is changed")
        raise Retry(f"{said}; waiting for it", again_in_s=LOOK_S)
    return wanted.value, seen.value


def _total(job: Job, work: Work) -> int:
    """As many as there were when it began."""
    return max(job.task.total, work.left)


def _under_way(job: Job, work: Work, total: int, what: str) -> Done:
    view = job.ground.view
    on_way = f"; {names(view, work.moving)}" if work.moving else ""
    stuck = f"; cannot go: {names(view, work.stuck)}" if work.stuck else ""
    sentence = f"{total - work.left} of {total} VMs {what}{on_way}{stuck}"
    if (total - work.left, total, sentence) != (job.task.current, job.task.total, job.task.status):
        job.progress(total - work.left, total, sentence)
    raise Retry(sentence, again_in_s=LOOK_S)


def _vms(count: int) -> str:
    return f"{count} VM{'' if count == 1 else 's'}"
