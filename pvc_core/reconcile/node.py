"""This node itself: its record, its health, whether it takes guests, and (as the only coordinator) the primary's
lease.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from pvc_core.cluster import layout
from pvc_core.model.cluster import Leader
from pvc_core.model.node import DomainState, HealthSeen, NodeSeen
from pvc_core.model.view import ClusterView
from pvc_core.model.vm import Phase
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

LOOK_S = 15.0


@dataclass(frozen=True, slots=True)
class NodeReconciler:
    """`facts` makes the record's fixed part: versions, plugins, the machine."""

    ground: Ground
    facts: Callable[[], NodeSeen]
    more_health: Callable[[], Sequence[HealthSeen]] = tuple
    kind: str = "node"

    def keys(self, view: ClusterView) -> Iterable[str]:
        return (self.ground.node,)

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        mine = (
            found
            and found[0] in (layout.NODE_WANTED, layout.LEADER, layout.SETTINGS)
            and found[1] in (self.ground.node, layout.ONLY)
        )
        return self.ground.node if mine else None

    def step(self, key: str) -> Outcome:
        view = self.ground.view
        if not view.fresh:
            return Outcome("the store gives no answer", 1.0)
        self._lead(view)
        kept = view.node_seen.get(key)
        wanted = view.node_wanted.get(key)
        state, sentence = self._domain_state(view, wanted.value.domain_state if wanted else DomainState.READY)
        new = replace(
            self.facts(), domain_state=state, sentence=sentence, health=self._health(kept.value if kept else None)
        )
        if kept is None or new != kept.value:
            self.ground.repository.save(layout.NODE_SEEN, key, new, kept)
            self.ground.keeper.settle([layout.NODE_SEEN.key(key)], inline=self.ground.inline)
        old = kept.value.domain_state if kept and kept.value.incarnation == new.incarnation else DomainState.FLUSHED
        self._tell(old, state)
        return Outcome(sentence, LOOK_S)

    def note(self, key: str, outcome: Outcome) -> None:
        """Shown in NodeSeen."""

    def _lead(self, view: ClusterView) -> None:
        """The only coordinator is primary; each of its boots is a new term."""
        if self.ground.coordinators != (self.ground.node,) or self.ground.is_primary():
            return
        kept = view.leader.get(layout.ONLY)
        mine = Leader(
            node=self.ground.node, incarnation=self.ground.incarnation, term=(kept.value.term if kept else 0) + 1
        )
        self.ground.repository.save(layout.LEADER, layout.ONLY, mine, kept)
        self.ground.keeper.settle([layout.LEADER.key(layout.ONLY)], inline=self.ground.inline)

    def _domain_state(self, view: ClusterView, wanted: DomainState) -> tuple[DomainState, str]:
        if wanted is DomainState.READY:
            return DomainState.READY, f"node {self.ground.node} takes guests"
        left = sorted(
            view.vm_wanted[uuid].value.name
            for uuid, claim in view.claims.items()
            if claim.value.holder == self.ground.node and claim.value.phase is not Phase.FREE and uuid in view.vm_wanted
        )
        if left:
            return DomainState.FLUSH, f"flushing: {', '.join(left)} still here, and no other node could take them"
        return DomainState.FLUSHED, f"node {self.ground.node} takes no guests"

    def _health(self, old: NodeSeen | None) -> tuple[HealthSeen, ...]:
        """What changed gets a new time; what stayed keeps its own, so that nothing is written for nothing."""
        known = {(item.plugin, item.delta, item.message): item for item in (old.health if old else ())}
        collected = self.ground.hooks.collect("pvc_collect_health")
        results = [
            replace(item, plugin=item.plugin or name) for name in sorted(collected) for item in collected[name] or ()
        ]
        now = self.ground.clock.wall_s()
        return tuple(
            known.get((item.plugin, item.delta, item.message), replace(item, at_s=now))
            for item in (*results, *self.more_health())
        )

    def _tell(self, old: DomainState, new: DomainState) -> None:
        if old is not new and new is DomainState.READY:
            self.ground.hooks.notify("pvc_node_ready", key=self.ground.node, node=self.ground.node)
        if old is not new and new is DomainState.FLUSHED:
            self.ground.hooks.notify("pvc_node_flushed", key=self.ground.node, node=self.ground.node)
