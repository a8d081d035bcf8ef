"""This node itself: its record, its health, whether it takes guests, and (as the only coordinator) the primary's
lease.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set
from pvc_core.model.cluster import Leader
from pvc_core.model.node import DaemonState, DomainState, HealthSeen, NodeSeen, NodeWanted
from pvc_core.model.view import ClusterView, Kept
from pvc_core.policy import evacuation
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

LOOK_S, BUSY_S = 15.0, 0.5


@dataclass(frozen=True, slots=True)
class NodeReconciler:
    """`facts` makes the record's fixed part: versions, plugins, the machine."""

    ground: Ground
    facts: Callable[[], NodeSeen]
    more_health: Callable[[], Sequence[HealthSeen]] = tuple
    kind: str = "node"
    _collected_s: dict[str, float] = field(default_factory=dict)

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
        if self.ground.condemned:
            return Outcome(f"node {key} is given up in this life; it begins a new one when its guests are gone", 1.0)
        self._lead(view)
        kept = view.node_seen.get(key)
        wanted = view.node_wanted.get(key)
        if wanted is not None and self._is_back(wanted):
            return Outcome(f"node {key} is back", 0.0)
        old_seen, facts = kept.value if kept else None, self.facts()
        state, sentence = self._domain_state(view, wanted.value if wanted else NodeWanted(name=key), old_seen)
        rests = state in (DomainState.READY, DomainState.FLUSHED)
        done = evacuation.order_of(view, key) if rests else old_seen.order_done if old_seen else ""
        health = self._health(old_seen, anew=rests)
        new = replace(facts, domain_state=state, sentence=sentence, health=health, order_done=done)
        if kept is None or new != kept.value:
            self.ground.repository.save(layout.NODE_SEEN, key, new, kept)
            self.ground.keeper.settle([layout.NODE_SEEN.key(key)], inline=self.ground.inline)
        old = kept.value.domain_state if kept and kept.value.incarnation == new.incarnation else DomainState.FLUSHED
        self._tell(old, state)
        if old_seen is not None and old_seen.daemon_state in (DaemonState.DEAD, DaemonState.FENCED):
            self.ground.hooks.notify("pvc_node_returned", key=key, node=key)
        return Outcome(sentence, LOOK_S if rests else BUSY_S)

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

    def _domain_state(self, view: ClusterView, wanted: NodeWanted, seen: NodeSeen | None) -> tuple[DomainState, str]:
        """ready -> flush -> flushed -> unflush -> ready; who moves the guests is flush.py's, on the primary."""
        node, describe = self.ground.node, self.ground.descriptions.of
        if wanted.domain_state is DomainState.FLUSHED:
            work = evacuation.emptying(view, node, describe)
            if work.left:
                return DomainState.FLUSH, _flushing(view, node, work)
            return DomainState.FLUSHED, f"node {node} takes no guests"
        ready = DomainState.READY, f"node {node} takes guests"
        settled = seen is not None and seen.domain_state is DomainState.READY and seen.order_done == wanted.order
        if settled and seen is not None and seen.incarnation == self.ground.incarnation:
            return ready
        work = evacuation.refilling(view, node, describe)
        if not work.left:
            return ready
        if seen is None or not _is_getting_ready(seen, self.ground.incarnation):
            return DomainState.UNFLUSH, f"node {node} is getting ready"  # written first: until then none may come
        if work.left == len(work.stuck):
            return ready[0], f"{ready[1]}; not back: {evacuation.names(view, work.stuck)}"
        return (
            DomainState.UNFLUSH,
            f"node {node} is getting ready: {len(work.moving)} on their way, {work.left} to come",
        )

    def _is_back(self, wanted: Kept[NodeWanted]) -> bool:
        """Shut down on purpose, and booted since: what held before holds again, by an order of its own."""
        if wanted.value.leaving in ("", self.ground.incarnation):
            return False
        again = replace(
            wanted.value,
            domain_state=wanted.value.back_to,
            order=self.ground.new_task_id(),
            leaving="",
            hurry=False,
            back_to=DomainState.READY,
        )
        self.ground.commit(Set(layout.NODE_WANTED, wanted.value.name, again, wanted.version))
        return True

    def _health(self, old: NodeSeen | None, *, anew: bool) -> tuple[HealthSeen, ...]:
        """What changed gets a new time; what stayed keeps its own, so that nothing is written for nothing. While guests
        come or go this is asked twice a second, and plugins only as often as else (`anew` False).
        """
        boottime_s = self.ground.clock.boottime_s()
        if not anew and old is not None and boottime_s - self._collected_s.get("", -LOOK_S) < LOOK_S:
            return old.health
        self._collected_s[""] = boottime_s
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


def _flushing(view: ClusterView, node: str, work: evacuation.Work) -> str:
    left = f"node {node} is being flushed: {work.left} to go"
    return f"{left}; cannot leave: {evacuation.names(view, work.stuck)}" if work.stuck else left


def _is_getting_ready(seen: NodeSeen, incarnation: str) -> bool:
    here = seen.incarnation == incarnation and seen.daemon_state is DaemonState.RUN
    return here and seen.domain_state is DomainState.UNFLUSH
