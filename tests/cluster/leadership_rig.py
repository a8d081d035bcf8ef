"""Coordinators on one fake store, each with a clock of its own that runs at its own rate; nothing happens unasked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.leadership import Leadership
from pvc_core.cluster.repository import Repository
from pvc_core.errors import PvcError, StoreUnavailable
from pvc_core.model.cluster import Leader, Lease, PrimaryWanted
from pvc_core.model.node import DaemonState, Heartbeat, NodeSeen
from pvc_core.model.view import ClusterView, Kept
from pvc_core.schema.records import decode
from pvc_core.store.base import SessionState
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.sim import QuietLog
from pvc_core.testing.store import FakeStore, FakeStoreServer

NAMES = ("hv1", "hv2", "hv3")


@dataclass
class OwnClock:
    """The true time, at this node's rate and from its own beginning."""

    true: FakeClock
    rate: float = 1.0
    began_s: float = 0.0

    def boottime_s(self) -> float:
        return self.began_s + self.true.boottime_s() * self.rate

    def wall_s(self) -> float:
        return self.true.wall_s()


@dataclass
class Coordinator:
    """One node's daemon as far as the role goes. `holds`: it has the primary's addresses."""

    name: str
    server: FakeStoreServer
    clock: OwnClock
    incarnation: str = "boot-1"
    log: QuietLog = field(default_factory=QuietLog)
    lower_fails: bool = False
    dead: bool = False

    def __post_init__(self) -> None:
        self._eyes, self._seen = self.server.client(), ClusterView(fresh=False)
        self.begin()

    def begin(self) -> None:
        """A new process of the daemon."""
        self.dead = False
        self.store: FakeStore = self.server.client(self.name)
        self.holds = False
        self.leadership = Leadership(
            node=self.name,
            incarnation=self.incarnation,
            coordinators=NAMES,
            store=self.store,
            clock=self.clock,
            log=self.log,
            view=self.view,
        )
        self.leadership.lower, self.leadership.changed = self._lower, self.follow

    def end(self) -> None:
        """kill -9: what it held is taken down by the node's guard, at the latest when its lease ends."""
        self.holds = False
        self.dead = True
        self.store.close()

    def view(self) -> ClusterView:
        """As it was when the store was last reached; read by another client, as in the daemon."""
        if self.store.session().state is not SessionState.CONNECTED:
            return self._seen
        try:
            entries = self._eyes.tree(layout.ROOT)
        except StoreUnavailable:
            return self._seen
        tables: dict[str, dict[str, Any]] = {kind.name: {} for kind in layout.KINDS}
        for key, entry in entries.items():
            if (found := layout.split(key)) is not None:
                kind, id = found
                tables[kind.name][id] = Kept(decode(entry.value, kind.record), entry.version, entry.stamp)
        self._seen = ClusterView(
            primary_wanted=tables[layout.PRIMARY_WANTED.name],
            node_seen=tables[layout.NODE_SEEN.name],
            heartbeats=tables[layout.HEARTBEATS.name],
        )
        return self._seen

    def follow(self) -> None:
        """What the daemon does when it is told: have the addresses while it acts, and only then."""
        self.holds = self.leadership.acts()

    def before_next_write(self, meanwhile: Callable[[], None]) -> None:
        """It sleeps between what it read and what it then writes; `meanwhile` is what the others do."""
        store = self.store

        def late(name: str) -> Any:
            def call(*args: Any, **options: Any) -> Any:
                del store.put, store.commit
                meanwhile()
                return getattr(store, name)(*args, **options)

            return call

        vars(store).update(put=late("put"), commit=late("commit"))

    def _lower(self) -> None:
        if self.lower_fails:
            raise PvcError("the address cannot be removed")
        self.holds = False


class Rig:
    """Three coordinators, whose daemons all run."""

    def __init__(self) -> None:
        self.true = FakeClock()
        self.server = FakeStoreServer(auto=True, advance=self.true.move)
        self.nodes = {
            name: Coordinator(name, self.server, OwnClock(self.true, began_s=1000.0 * number))
            for number, name in enumerate(NAMES)
        }
        self.repository = Repository(self.server.client("test"))
        for name in NAMES:
            seen = NodeSeen(name=name, incarnation="boot-1", daemon_state=DaemonState.RUN)
            self.repository.add(layout.NODE_SEEN, name, seen)
            self.repository.add(layout.HEARTBEATS, name, Heartbeat(node=name, incarnation="boot-1", beat=0))

    def beat(self) -> None:
        """The guards' heartbeats, of all nodes that have power."""
        for name in NAMES:
            if not self.nodes[name].dead:
                beat = Heartbeat(node=name, incarnation="boot-1", beat=0)
                self.repository.set(layout.HEARTBEATS, name, beat, if_version=None)

    def run(self, seconds: float, *names: str, step_s: float = 0.25) -> None:
        """The named nodes (all of them) tick, time passes."""
        end_s = self.true.boottime_s() + seconds - 1e-9
        while self.true.boottime_s() < end_s:
            if self.repository.store.session().state is SessionState.CONNECTED:
                self.beat()
            for name in names or NAMES:
                self.nodes[name].leadership.tick()
            self.true.move(step_s)

    def acting(self) -> list[str]:
        return [name for name in NAMES if self.nodes[name].leadership.acts()]

    def holding(self) -> list[str]:
        return [name for name in NAMES if self.nodes[name].holds]

    def leader(self) -> Leader:
        return self.repository.get(layout.LEADER, layout.ONLY).value

    def lease(self) -> Lease:
        return self.repository.get(layout.LEASE, layout.ONLY).value

    def ask(self, name: str) -> None:
        kept = self.repository.find(layout.PRIMARY_WANTED, layout.ONLY)
        wanted = PrimaryWanted(node=name, asked=(kept.value.asked if kept else 0) + 1, asked_by="test")
        self.repository.save(layout.PRIMARY_WANTED, layout.ONLY, wanted, kept)
