"""Forgetting a node that is gone for good: its records go, and its certificate is answered no more.

Only a node without guests and volumes, and only when it is off: a living one would go on with what it believes. What a
person confirms to be off is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from pvc_core.cluster import layout
from pvc_core.cluster.layout import Kind
from pvc_core.cluster.repository import Add, Drop, Write
from pvc_core.contracts.fence import FenceDriver
from pvc_core.errors import Refused, Retry
from pvc_core.model.node import RemovedNode
from pvc_core.policy.leaving import ties
from pvc_core.reconcile.task import Done, Job, TaskKind

Beat = tuple[str, int] | None
"""Incarnation and number of a node's last heartbeat; None when it has none."""
SILENT_S = 6.0
"""So long no heartbeat may move, as this primary watches, before a node counts as off."""
_LOOK_S = 1.0
FORGET_S = 5.0
_KINDS: tuple[Kind, ...] = (
    layout.NODE_WANTED, layout.NODE_SEEN, layout.NODE_PEERS, layout.STORAGE_SEEN, layout.NETWORK_SEEN,
    layout.HEARTBEATS, layout.STATS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class NodeRemoval:
    _beats: dict[str, tuple[dict[str, Beat], float]] = field(default_factory=dict)
    """By task: the heartbeats as this primary first saw them, and when."""

    def do(self, job: Job) -> Done:
        """Raises Refused (it lives, or something ties the cluster to it), Retry (being watched)."""
        node, ground = str(job.task.args["node"]), job.ground
        ground.keeper.settle(inline=ground.inline)
        if why := ties(ground.view, node):
            raise Refused(f"node {node} cannot be removed: {why}", help="move or remove that first")
        if not job.task.args.get("confirmed") or node in ground.coordinators:
            self._watch(job, node)
        found = [(kind, ground.repository.find(kind, node)) for kind in _KINDS]
        writes: list[Write] = [Drop(kind, node, kept.version) for kind, kept in found if kept is not None]
        writes += self._denial(job, node)
        for rung, driver in ground.fence.items():
            ground.calls(f"fence-note/{rung}", f"{rung} forgets {node}", FORGET_S, partial(_forget, driver, node))
        return Done(status=f"node {node} is removed", writes=tuple(writes))

    def _watch(self, job: Job, node: str) -> None:
        """Waits are counted on this primary's own clock; a heartbeat that moves once is enough to say no.

        Of a coordinator the others are watched, too: whoever replaces it copies from them.
        """
        beats, now_s = self._heard(job, node), job.ground.clock.boottime_s()
        if beats.get(node) is None and node not in job.ground.coordinators:
            return
        first, since_s = self._beats.setdefault(job.task.id, (beats, now_s))
        if beats.get(node) != first.get(node) and not job.task.args.get("confirmed"):
            self._beats.pop(job.task.id, None)
            raise Refused(
                f"node {node} cannot be removed: it is alive, its heartbeat moves",
                help="flush it, stop PVC on it and switch it off first",
            )
        if now_s - since_s < SILENT_S:
            raise Retry(f"watching whether node {node} is silent", again_in_s=_LOOK_S)
        self._beats.pop(job.task.id, None)
        self._check_majority(job, node, {name for name, beat in beats.items() if beat != first.get(name)})

    def _heard(self, job: Job, node: str) -> dict[str, Beat]:
        """What the nodes' guards wrote, not the records' versions: the judge writes there too when it condemns one."""
        names = {node, *(job.ground.coordinators if node in job.ground.coordinators else ())}
        found = {name: job.ground.repository.find(layout.HEARTBEATS, name) for name in names}
        return {name: (kept.value.incarnation, kept.value.beat) if kept else None for name, kept in found.items()}

    def _check_majority(self, job: Job, node: str, heard: set[str]) -> None:
        """Raises Refused when less than a majority of coordinators would be left to copy from."""
        coordinators = job.ground.coordinators
        others = [name for name in coordinators if name != node]
        silent = [name for name in others if name not in heard]
        if node in coordinators and len(others) - len(silent) <= len(coordinators) // 2:
            raise Refused(
                f"node {node} cannot be removed: of {len(coordinators)} coordinators {', '.join(silent)} would be "
                "silent, too, and the store without a majority",
                help=f"bring {', '.join(silent)} back first, then replace {node}",
            )

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


def _forget(driver: FenceDriver, node: str) -> None:
    driver.forget(node, deadline_s=FORGET_S)


def kinds() -> Mapping[str, TaskKind]:
    return {"node.remove": TaskKind(do=NodeRemoval().do)}
