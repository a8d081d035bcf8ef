"""Nodes: look at them, ask one to give up its guests or to take some again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Add, Set
from pvc_core.errors import Invalid, NotFound, Refused, Retry
from pvc_core.model.node import CoordinatorState, DaemonState, DomainState, NodeWanted
from pvc_core.policy.placement import NodeLoad, loads
from pvc_core.services.desk import Desk, Flow
from pvc_core.services.filters import name_filter
from pvc_core.services.pictures import NodePicture


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

    def list(self, by: NodeFilter | None = None) -> list[NodePicture]:
        wanted = by or NodeFilter()
        matches, load = name_filter(wanted.limit), loads(self.desk.view, self.desk.descriptions.of)
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
        return self._picture(name, loads(self.desk.view, self.desk.descriptions.of))

    def flush(self, name: str, *, by: str, wait: bool = False) -> NodePicture:
        """It shall give up its guests and take no more."""
        return self._ask(name, DomainState.FLUSHED, by, wait)

    def ready(self, name: str, *, by: str, wait: bool = False) -> NodePicture:
        """It shall take guests."""
        return self._ask(name, DomainState.READY, by, wait)

    def set_coordinator_state(self, name: str, state: str, *, by: str) -> NodePicture:
        """Ask it to become primary, or to let another be."""
        picture = self.get(name)
        if state not in ("primary", "secondary"):
            raise Invalid(f"{state!r} is no state to ask for", fields={"state": "primary or secondary"})
        if name not in self.coordinators:
            raise Refused(f"node {name} is a hypervisor; only a coordinator can be primary")
        if picture.coordinator_state == state:
            return picture
        if len(self.coordinators) == 1:
            raise Refused(f"node {name} is the only coordinator, so it stays primary")
        raise Refused("moving the primary comes with clusters of several nodes")

    def log(self, name: str, lines: int) -> str:
        self.get(name)
        return str(self.desk.ask(name, "node_log", {"lines": lines}, deadline_s=10.0).result.get("data", ""))

    def follow_log(self, name: str, lines: int) -> Flow:
        """The last lines, then what comes, until it is closed."""
        self.get(name)
        return Flow(self.desk.ask(name, "node_log", {"lines": lines, "follow": True}, deadline_s=10.0))

    def _ask(self, name: str, state: DomainState, by: str, wait: bool) -> NodePicture:
        self.get(name)
        kept = self.desk.view.node_wanted.get(name)
        wanted = NodeWanted(name=name, domain_state=state, asked_by=by)
        if kept is None:
            self.desk.commit(Add(layout.NODE_WANTED, name, wanted))
        else:
            self.desk.commit(
                Set(layout.NODE_WANTED, name, replace(kept.value, domain_state=state, asked_by=by), kept.version)
            )
        if wait and not self.desk.wait_until(
            lambda view: view.node_seen[name].value.domain_state is state, timeout_s=120.0
        ):
            raise Retry(f"node {name} is not {state} yet: {self.get(name).seen.sentence}", help="it goes on by itself")
        return self.get(name)

    def _picture(self, name: str, load: dict[str, NodeLoad]) -> NodePicture:
        view = self.desk.view
        here = load.get(name, NodeLoad())
        wanted, beat, stats = view.node_wanted.get(name), view.heartbeats.get(name), view.stats.get(name)
        return NodePicture(
            wanted=wanted.value if wanted else None,
            seen=view.node_seen[name].value,
            heartbeat=beat.value if beat else None,
            stats=stats.value if stats else None,
            load=here,
            coordinator_state=self._coordinator_state(name),
            running=tuple(sorted(view.vm_wanted[uuid].value.name for uuid in here.running if uuid in view.vm_wanted)),
        )

    def _coordinator_state(self, name: str) -> CoordinatorState:
        if name not in self.coordinators:
            return CoordinatorState.CLIENT
        alive = self.desk.view.node_seen[name].value.daemon_state is not DaemonState.DEAD
        return CoordinatorState.PRIMARY if alive and self.desk.view.primary == name else CoordinatorState.SECONDARY
