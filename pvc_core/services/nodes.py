"""Nodes: look at them, ask one to give up its guests or to take some again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.heard import Heard
from pvc_core.cluster.repository import Add, Set
from pvc_core.errors import Invalid, NotFound, Refused
from pvc_core.model.cluster import PrimaryWanted
from pvc_core.model.node import CoordinatorState, DaemonState, DomainState, NodeSeen, NodeWanted
from pvc_core.model.task import Task
from pvc_core.model.verdict import Vouch, life_id
from pvc_core.policy.leaving import ties
from pvc_core.policy.placement import NodeLoad, loads
from pvc_core.services.counted import Counted
from pvc_core.services.desk import Desk, Reply
from pvc_core.services.filters import name_filter
from pvc_core.services.following import LogFlow
from pvc_core.services.node_state import awaited, demand_lost, judged
from pvc_core.services.pictures import NodePicture
from pvc_core.services.tasks import TaskService

VOUCH_WORDS = "node {node} is without power and stays so until it is booted anew: no guest runs on it"
"""What who fences a node by hand says to be true. Were it not, its guests would run twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFilter:
    """All that is given must hold."""

    limit: str | None = None
    daemon_state: str | None = None
    coordinator_state: str | None = None
    domain_state: str | None = None


@dataclass(frozen=True, slots=True)
class NodeService:
    desk: Desk
    coordinators: tuple[str, ...]
    heard: Heard | None = None
    """Without it nobody is called dead: this process does not follow the heartbeats."""
    dead_after_s: float = 5.0
    _loads: Counted[dict[str, NodeLoad]] = field(default_factory=Counted)

    def list(self, by: NodeFilter | None = None) -> list[NodePicture]:
        wanted = by or NodeFilter()
        matches, load = name_filter(wanted.limit), self._load()
        found = [self._picture(name, load) for name in sorted(self.desk.view.node_seen) if matches(name)]
        return [
            node
            for node in found
            if wanted.daemon_state in (None, node.seen.daemon_state)
            and wanted.coordinator_state in (None, node.coordinator_state)
            and wanted.domain_state in (None, node.seen.domain_state)
        ]

    def get(self, name: str) -> NodePicture:
        if name not in self.desk.view.node_seen:
            raise NotFound(f"there is no node {name!r}", help="`pvc node list` shows those there are")
        return self._picture(name, self._load())

    def flush(self, name: str, *, by: str, wait: bool = False) -> Task:
        """It shall give up its guests and take no more; the task that tells how far that is.

        With `wait` it returns when they are gone; raises Refused naming those that cannot leave, with the reason, or
        that the order was called off.
        """
        return self._ask(name, DomainState.FLUSHED, by, wait)

    def ready(self, name: str, *, by: str, wait: bool = False) -> Task:
        """It shall take guests, and get back what was moved from it. A flush that is under way ends at once."""
        return self._ask(name, DomainState.READY, by, wait)

    def set_coordinator_state(self, name: str, state: str, *, by: str) -> NodePicture:
        """Ask it to become primary, or to let another be. Returns at once; it takes about half a second."""
        picture = self.get(name)
        if state not in ("primary", "secondary"):
            raise Invalid(f"{state!r} is no state to ask for", fields={"state": "primary or secondary"})
        if name not in self.coordinators:
            raise Refused(f"node {name} is a hypervisor; only a coordinator can be primary")
        if picture.coordinator_state == state:
            return picture
        if len(self.coordinators) == 1:
            raise Refused(f"node {name} is the only coordinator, so it stays primary")
        self._ask_primary(name if state == "primary" else self._another(name), by)
        return self.get(name)

    def remove(self, name: str, *, by: str, confirm: bool = False) -> Task:
        """Forget a node that is gone for good; the task that does it. `confirm`: a person knows that it is off.

        Raises NotFound; Refused for the only coordinator, and while anything ties the cluster to it.
        """
        self.get(name)
        if self.coordinators == (name,):
            raise Refused(f"node {name} is the only coordinator", help="without it there is no cluster")
        if why := ties(self.desk.view, name):
            raise Refused(f"node {name} cannot be removed: {why}", help="move or remove that first")
        args = {"node": name, "confirmed": confirm}
        tasks = TaskService(self.desk)
        return tasks.submit(tasks.new("node.remove", node="", args=args, by=by, status=f"removing node {name}"))

    def vouch(self, name: str, *, by: str, confirm: bool) -> Vouch:
        """A person has pulled the plug of `name` himself: his word lets its guests start elsewhere.

        For its present incarnation only. Raises NotFound, Refused: it is heard, or nothing was confirmed.
        """
        picture = self.get(name)
        beat = self.desk.view.heartbeats.get(name)
        demand_lost(picture.seen)
        if beat is None:
            raise Refused(f"node {name} was never heard: it has no guests that could wait for your word")
        if not confirm:
            raise Refused(
                f"nothing was confirmed: {VOUCH_WORDS.format(node=name)}", help="confirm=true says that it is so"
            )
        life = life_id(name, beat.value.incarnation)
        kept = self.desk.view.vouches.get(life)
        if kept is not None:
            return kept.value
        said = Vouch(
            node=name,
            incarnation=beat.value.incarnation,
            by=by,
            words=VOUCH_WORDS.format(node=name),
            at_s=self.desk.clock.wall_s(),
        )
        self.desk.commit(Add(layout.VOUCHES, life, said))
        return said

    def awaited(self, word: Vouch) -> str:
        """A sentence about what must come first, "" when `word` lets the guests go at once."""
        return awaited(self.desk.view, word)

    def log(self, name: str, lines: int) -> str:
        self.get(name)
        return str(self.desk.ask(name, "node_log", {"lines": lines}, deadline_s=10.0).result.get("data", ""))

    def follow_log(self, name: str, lines: int) -> LogFlow:
        """The last lines, then what comes, until it is closed; also across restarts of its pvcnoded."""
        self.get(name)

        def ask(node: str, args: Mapping[str, Any]) -> Reply:
            return self.desk.ask(node, "node_log", args, deadline_s=10.0)

        return LogFlow(ask, name, lines=lines, by_lines=True, clock=self.desk.clock)

    def _another(self, name: str) -> str:
        """Who could be primary instead. Raises Refused when nobody can."""
        for other in self.coordinators:
            if other != name and not self._cannot_lead(other):
                return other
        raise Refused(f"node {name} stays primary: no other coordinator works", help="`pvc node list` shows them")

    def _ask_primary(self, name: str, by: str) -> None:
        if why := self._cannot_lead(name):
            raise Refused(f"node {name} cannot be primary: {why}", help="mend that first, or choose another")
        kept = self.desk.view.primary_wanted.get(layout.ONLY)
        wanted = PrimaryWanted(node=name, asked=(kept.value.asked if kept else 0) + 1, asked_by=by)
        if kept is None:
            self.desk.commit(Add(layout.PRIMARY_WANTED, layout.ONLY, wanted))
        else:
            self.desk.commit(Set(layout.PRIMARY_WANTED, layout.ONLY, wanted, kept.version))

    def _cannot_lead(self, name: str) -> str:
        kept = self.desk.view.node_seen.get(name)
        if kept is None or kept.value.daemon_state is not DaemonState.RUN:
            return f"its pvcnoded is in state {kept.value.daemon_state}" if kept else "it was never there"
        return f"it is in custody ({kept.value.custody})" if kept.value.custody else ""

    def _ask(self, name: str, state: DomainState, by: str, wait: bool) -> Task:
        self.get(name)
        kept, tasks = self.desk.view.node_wanted.get(name), TaskService(self.desk)
        kind, doing = ("node.flush", "flushing") if state is DomainState.FLUSHED else ("node.ready", "getting ready")
        task = tasks.new(kind, node="", args={"node": name}, by=by, status=f"{doing}: {name}")
        task = replace(task, total=0)  # how many it concerns is found out by who carries it out
        wanted = NodeWanted(name=name, domain_state=state, asked_by=by, order=task.id)
        if kept is None:
            tasks.submit(task, Add(layout.NODE_WANTED, name, wanted))
        else:
            tasks.submit(task, Set(layout.NODE_WANTED, name, wanted, kept.version))
        return tasks.done(task) if wait else task

    def _load(self) -> dict[str, NodeLoad]:
        view = self.desk.view
        tables = (view.node_seen, view.vm_wanted, view.claims, view.vm_seen)
        return self._loads.of(tables, lambda: loads(view, self.desk.descriptions.of))

    def _picture(self, name: str, load: dict[str, NodeLoad]) -> NodePicture:
        view = self.desk.view
        here = load.get(name, NodeLoad())
        wanted, beat, stats = view.node_wanted.get(name), view.heartbeats.get(name), view.stats.get(name)
        return NodePicture(
            wanted=wanted.value if wanted else None,
            seen=self._seen(name, here),
            heartbeat=beat.value if beat else None,
            stats=stats.value if stats else None,
            load=here,
            coordinator_state=self._coordinator_state(name),
            silent_s=None if self.heard is None else round(self.heard.silent_s(name), 1),
            running=tuple(sorted(view.vm_wanted[uuid].value.name for uuid in here.running if uuid in view.vm_wanted)),
        )

    def _seen(self, name: str, here: NodeLoad) -> NodeSeen:
        """While the store is silent nothing is known of heartbeats, so nobody is judged by them."""
        view = self.desk.view
        beat, seen = view.heartbeats.get(name), view.node_seen[name].value
        if self.heard is None or self.desk.keeper.stale_s() is not None:
            return seen
        return judged(
            seen,
            beat.value if beat else None,
            silent_s=self.heard.silent_s(name),
            dead_after_s=self.dead_after_s,
            claims=bool(here.running),
            maintenance=view.maintenance,
        )

    def _coordinator_state(self, name: str) -> CoordinatorState:
        if name not in self.coordinators:
            return CoordinatorState.CLIENT
        view = self.desk.view
        alive = view.node_seen[name].value.daemon_state is not DaemonState.DEAD
        primary, asked = alive and view.primary == name, view.primary_asked
        if asked and primary != (asked == name):
            return CoordinatorState.RELINQUISH if primary else CoordinatorState.TAKEOVER
        return CoordinatorState.PRIMARY if primary else CoordinatorState.SECONDARY
