"""Forgetting a node that is gone for good: its records go, and its certificate is answered no more.

Only a node without guests and volumes, and only when it is off: a living one would go on with what it believes. What a
person confirms to be off is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pvc_core.cluster import layout
from pvc_core.cluster.layout import Kind
from pvc_core.cluster.repository import Add, Drop, Write
from pvc_core.errors import Refused, Retry
from pvc_core.model.node import RemovedNode
from pvc_core.policy.leaving import ties
from pvc_core.reconcile.task import Done, Job, TaskKind

SILENT_S = 6.0
"""So long no heartbeat may move, as this primary watches, before a node counts as off."""
_LOOK_S = 1.0
_KINDS: tuple[Kind, ...] = (
    layout.NODE_WANTED, layout.NODE_SEEN, layout.NODE_PEERS, layout.STORAGE_SEEN, layout.HEARTBEATS, layout.STATS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class NodeRemoval:
    _beats: dict[str, tuple[int, float]] = field(default_factory=dict)
    """By task: version of the heartbeat record as this primary first saw it, and when."""

    def do(self, job: Job) -> Done:
        """Raises Refused (it lives, or something ties the cluster to it), Retry (being watched)."""
        node, ground = str(job.task.args["node"]), job.ground
        ground.keeper.settle(inline=ground.inline)
        if why := ties(ground.view, node):
            raise Refused(f"node {node} cannot be removed: {why}", help="move or remove that first")
        if not job.task.args.get("confirmed"):
            self._await_silence(job, node)
        found = [(kind, ground.repository.find(kind, node)) for kind in _KINDS]
        writes: list[Write] = [Drop(kind, node, kept.version) for kind, kept in found if kept is not None]
        writes += self._denial(job, node)
        return Done(status=f"node {node} is removed", writes=tuple(writes))

    def _await_silence(self, job: Job, node: str) -> None:
        """Waits are counted on this primary's own clock; a heartbeat that moves once is enough to say no."""
        beat, now_s = job.ground.repository.find(layout.HEARTBEATS, node), job.ground.clock.boottime_s()
        if beat is None:
            return
        first, since_s = self._beats.setdefault(job.task.id, (beat.version, now_s))
        if beat.version != first:
            self._beats.pop(job.task.id, None)
            raise Refused(
                f"node {node} cannot be removed: it is alive, its heartbeat moves",
                help="flush it, stop PVC on it and switch it off first",
            )
        if now_s - since_s < SILENT_S:
            raise Retry(f"watching whether node {node} is silent", again_in_s=_LOOK_S)
        self._beats.pop(job.task.id, None)

    def _denial(self, job: Job, node: str) -> list[Write]:
        peer = job.ground.repository.find(layout.NODE_PEERS, node)
        if peer is None or job.ground.repository.find(layout.REMOVED, peer.value.certificate) is not None:
            return []
        denied = RemovedNode(
            name=node,
            certificate=peer.value.certificate,
            at_s=job.ground.clock.wall_s(),
            asked_by=job.task.asked_by,
        )
        return [Add(layout.REMOVED, peer.value.certificate, denied)]


def kinds() -> Mapping[str, TaskKind]:
    return {"node.remove": TaskKind(do=NodeRemoval().do)}
