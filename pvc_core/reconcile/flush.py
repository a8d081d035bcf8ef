"""On the primary: empty the nodes that shall be flushed, refill those that get ready, a set number of VMs at a time.

What is to be done is read from the picture each time (policy/evacuation.py), and asking a VM to move is one write: a
daemon that dies, or another primary, changes nothing. How a VM moves is moving.py's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set, Unchanged
from pvc_core.model.node import DomainState, NodeWanted
from pvc_core.model.view import ClusterView, Kept
from pvc_core.model.vm import VmWanted, Want
from pvc_core.policy.evacuation import Work, emptying, leaves, names, on_their_way, order_of, refilling
from pvc_core.reconcile.engine import EVERY
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

LOOK_S, REST_S = 1.0, 5.0
TRY_AGAIN_S = 30.0
"""After this long a VM that could not leave is asked once more: what hindered it may be gone."""
MOST_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class FlushReconciler:
    ground: Ground
    kind: str = "flush"
    _again_s: dict[tuple[str, int], float] = field(default_factory=dict)
    """(UUID, request to move) -> when a VM that refused is asked again."""

    def keys(self, view: ClusterView) -> Iterable[str]:
        return [name for name in view.node_seen if _busy(view, name)] if self.ground.is_primary() else ()

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        moved = (layout.NODE_WANTED, layout.NODE_SEEN, layout.CLAIMS, layout.VM_SEEN, layout.LEADER)
        return EVERY if found and found[0] in moved else None

    def step(self, key: str) -> Outcome:
        view = self.ground.view
        if not view.fresh or not self.ground.is_primary() or not _busy(view, key):
            return Outcome("")
        return self._empty(key) if leaves(view, key) else self._refill(key)

    def note(self, key: str, outcome: Outcome) -> None:
        """The node's own record and the task tell how far it is."""

    def _empty(self, node: str) -> Outcome:
        for _ in range(MOST_AT_ONCE):
            wanted = self.ground.view.node_wanted[node]
            work = emptying(self.ground.view, node, self.ground.descriptions.of, retry=self._retried(node))
            if wanted.value.leaving and (down := self._to_shut_down(wanted.value, work)):
                self._write(node, wanted, down, want=Want.SHUTDOWN, autostart=True)
            elif not self._one_step(node, wanted, work):
                break
        if not work.left:
            return Outcome(f"node {node} is empty", REST_S)
        stuck = f"; cannot leave: {names(self.ground.view, work.stuck)}" if work.stuck else ""
        return Outcome(f"flushing: {len(work.moving)} on their way, {len(work.ask)} to go{stuck}", LOOK_S)

    def _refill(self, node: str) -> Outcome:
        for _ in range(MOST_AT_ONCE):
            wanted = self.ground.view.node_wanted.get(node)
            work = refilling(self.ground.view, node, self.ground.descriptions.of)
            if work.start:
                self._write(node, wanted, work.start[0], want=Want.START, autostart=False)
            elif not self._one_step(node, wanted, work):
                break
        return Outcome(f"bringing back: {len(work.moving)} on their way, {len(work.ask)} to come", LOOK_S)

    def _one_step(self, node: str, wanted: Kept[NodeWanted] | None, work: Work) -> bool:
        """Whether anything was written."""
        if any(self._move(node, wanted, uuid, stays) for uuid, stays in work.call_off.items()):
            return True
        if work.ask and on_their_way(self.ground.view) < self.ground.parallel_migrations:
            uuid, target = next(iter(work.ask.items()))
            return self._move(node, wanted, uuid, target)
        return False

    def _move(self, node: str, wanted: Kept[NodeWanted] | None, uuid: str, target: str) -> bool:
        vm = self.ground.view.vm_wanted[uuid].value
        claim = self.ground.view.claims[uuid].value
        if vm.target == target and claim.holder == target:
            return False  # called off already; its node has yet to say so
        order = wanted.value.order if wanted else ""
        goes_on = vm.move_order == order and (uuid, vm.move) not in self._again_s
        tried = (*vm.move_tried, str(vm.target)) if goes_on and vm.target != claim.holder else ()
        self._again_s.pop((uuid, vm.move), None)
        home = vm.last_node if vm.last_node not in (None, claim.holder) else claim.holder
        self._write(
            node, wanted, uuid, move=vm.move + 1, target=target, last_node=home, live_only=False, move_tried=tried
        )
        return True

    def _to_shut_down(self, wanted: NodeWanted, work: Work) -> str:
        """Of a node that is shut down: a guest that cannot leave it, or any when time is up; "" for none."""
        view = self.ground.view
        left = [*work.stuck, *work.ask, *work.moving] if wanted.hurry else list(work.stuck)
        held = (view.vm_wanted[uuid].value for uuid in left if view.claims[uuid].value.holder == wanted.name)
        return next((vm.uuid for vm in held if vm.want is Want.START), "")

    def _retried(self, node: str) -> frozenset[str]:
        """Those that refused long enough ago."""
        view, now = self.ground.view, self.ground.clock.boottime_s()
        due = set()
        for uuid in emptying(view, node, self.ground.descriptions.of).stuck:
            vm = view.vm_wanted[uuid].value
            if now >= self._again_s.setdefault((uuid, vm.move), now + TRY_AGAIN_S):
                due.add(uuid)
        return frozenset(due)

    def _write(self, node: str, wanted: Kept[NodeWanted] | None, uuid: str, **changes: Any) -> None:
        """What the order of an operator asks of this VM; not written if that order no longer holds."""
        kept = self.ground.view.vm_wanted[uuid]
        order, by = (wanted.value.order, wanted.value.asked_by) if wanted else ("", "")
        if "want" in changes:
            changes["asked"] = kept.value.asked + 1
        doing = "flush" if leaves(self.ground.view, node) else "ready"
        new: VmWanted = replace(
            kept.value,
            move_order=order,
            asked_by=f"{doing} of {node}" + (f" ({by})" if by else ""),
            asked_at_s=self.ground.clock.wall_s(),
            **changes,
        )
        holds = (Unchanged(layout.NODE_WANTED, node, wanted.version),) if wanted else ()
        self.ground.commit(self.ground.lead(), Set(layout.VM_WANTED, uuid, new, kept.version), *holds)


def _busy(view: ClusterView, node: str) -> bool:
    seen = view.node_seen.get(node)
    if seen is None:
        return False
    if leaves(view, node):
        return seen.value.domain_state is not DomainState.FLUSHED or seen.value.order_done != order_of(view, node)
    return seen.value.domain_state is DomainState.UNFLUSH
