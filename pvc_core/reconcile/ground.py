"""What every reconciler of one node stands on. Made in daemon/build.py, or by the simulator with fakes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pvc_core.clock import Clock
from pvc_core.cluster import layout
from pvc_core.cluster.descriptions import Descriptions
from pvc_core.cluster.leadership import Leadership
from pvc_core.cluster.repository import Repository, Unchanged, Write
from pvc_core.cluster.view import ViewKeeper
from pvc_core.contracts.compute import ComputeDefinitions, ComputeDriver
from pvc_core.contracts.fence import FenceDriver
from pvc_core.contracts.network import NetworkDriver
from pvc_core.contracts.plugin import Plugin
from pvc_core.contracts.storage import StorageDriver
from pvc_core.errors import Conflict, Permanent
from pvc_core.ids import new_task_id
from pvc_core.model.cluster import Leader
from pvc_core.model.storage import Pool, Volume
from pvc_core.model.verdict import life_id
from pvc_core.model.view import ClusterView, Kept
from pvc_core.model.vm import Description, Phase
from pvc_core.reconcile.calls import Calls


class Permits(Protocol):
    """The node's guard (pvc_core.guard.client.Guard)."""

    def permit(
        self, uuid: str, *, generation: int, kind: Literal["start", "incoming"] = "start", for_s: float = 30.0
    ) -> object:
        """Raises Refused when the node's own deadline has passed, Retry when the guard does not answer."""

    def revoke(self, uuid: str) -> object: ...


class HookCalls(Protocol):
    """pvc_core.loader.Hooks."""

    def notify(self, hook: str, /, *, key: str = "", **args: Any) -> None: ...
    def check(self, hook: str, /, **args: Any) -> None: ...
    def collect(self, hook: str, /, **args: Any) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class User:
    """A VM that has a volume now, by its claim."""

    name: str
    description: Description | None

    def writes(self, ref: str) -> bool:
        """Unless its definition says that it only reads it."""
        disks = self.description.disks if self.description else ()
        return ref in writes(self.description) if any(disk.volume == ref for disk in disks) else True


def writes(description: Description | None) -> set[str]:
    """The volumes a definition lets the guest write."""
    return {disk.volume for disk in description.disks if disk.volume and not disk.read_only} if description else set()


def nobody_waits(step: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    node: str
    incarnation: str
    coordinators: tuple[str, ...]
    keeper: ViewKeeper
    repository: Repository
    clock: Clock
    log: Any
    compute: ComputeDriver
    definitions: ComputeDefinitions
    descriptions: Descriptions
    storage: Mapping[str, StorageDriver]
    """By driver name."""
    plugins: Mapping[str, Plugin]
    actions: Mapping[tuple[str, str], Any]
    """(plugin, action) -> ActionCall."""
    networks: Mapping[str, NetworkDriver] = field(default_factory=dict)
    """By the word of use.networks."""
    fence: Mapping[str, FenceDriver] = field(default_factory=dict)
    """The fence drivers of the ladder, in its order, by plugin."""
    permits: Permits
    hooks: HookCalls
    calls: Calls
    leadership: Leadership | None = None
    """Of a coordinator that is one of several; a cluster's only one needs no lease."""
    parallel_migrations: int = 2
    inline: bool = False
    new_task_id: Callable[[], str] = new_task_id
    vnc_listen: str = "127.0.0.1"
    moment: Callable[[str], None] = nobody_waits
    """Called at the steps of what must not go wrong, with their names: where a test lets something happen just then."""

    @property
    def view(self) -> ClusterView:
        return self.keeper.view

    @property
    def condemned(self) -> bool:
        """This life of the node is given up: nothing may be begun in it, and what runs is ended by the guard."""
        return life_id(self.node, self.incarnation) in self.view.verdicts

    def is_primary(self) -> bool:
        """This node may act as primary at this moment. To be asked before every act on the world, not once for many."""
        if self.leadership is not None:
            return self.leadership.acts()
        return self.coordinators == (self.node,) and self._only_term() is not None

    def lead(self) -> Unchanged:
        """Part of every commit that only a primary makes: it fails with Conflict once another term has begun.

        Raises Conflict when this node is not primary now.
        """
        if self.leadership is not None:
            return self.leadership.condition()
        kept = self._only_term()
        if kept is None:
            raise Conflict(f"node {self.node} is not primary now")
        return Unchanged(layout.LEADER, layout.ONLY, kept.version)

    @property
    def term(self) -> int:
        """Of which this node's acts are; 0 when it is not primary now."""
        if self.leadership is not None:
            return self.leadership.term
        kept = self._only_term()
        return kept.value.term if kept else 0

    def _only_term(self) -> Kept[Leader] | None:
        """The term of the only coordinator, begun in this very incarnation."""
        kept = self.view.leader.get(layout.ONLY)
        mine = kept is not None and kept.value.node == self.node and kept.value.incarnation == self.incarnation
        return kept if mine else None

    def commit(self, *writes: Write) -> None:
        """All or nothing; the picture shows it when this returns."""
        self.repository.commit(writes)
        changed = (write.kind.key(write.id) for write in writes if not isinstance(write, Unchanged))
        self.keeper.settle(changed, inline=self.inline)

    def driver(self, pool: Pool) -> StorageDriver:
        """Raises Permanent when the pool's driver is not loaded here."""
        found = self.storage.get(pool.driver)
        if found is None:
            raise Permanent(
                f"pool {pool.name} needs the storage driver {pool.driver}",
                help="name its plugin in this node's pvc.yaml",
            )
        return found

    def pool(self, name: str) -> Pool:
        """Asks the store when the picture does not show it: a task may be seen before its pool. Raises Permanent."""
        kept = self.view.pools.get(name) or self.repository.find(layout.POOLS, name)
        if kept is None:
            raise Permanent(f"there is no pool {name}", help="was it removed meanwhile? `pvc storage pool list`")
        return kept.value

    def users(self, refs: Collection[str], *, besides: str) -> Iterator[tuple[str, User]]:
        """(volume, VM) for each of these volumes that the claim of another VM lists."""
        for uuid, claim in self.view.claims.items():
            if uuid == besides or claim.value.phase is Phase.FREE:
                continue
            for ref in claim.value.volumes:
                if ref in refs:
                    vm = self.view.vm_wanted.get(uuid)
                    yield ref, User(vm.value.name, self.descriptions.of(vm.value)) if vm else User(uuid, None)

    def busy(self, volume: Volume) -> str:
        """What the task at work on it says, "" when none is. Asks the store when the picture does not show the task."""
        if not volume.task:
            return ""
        kept = self.view.tasks.get(volume.task) or self.repository.find(layout.TASKS, volume.task)
        return "" if kept is None or kept.value.ended else kept.value.status or f"task {kept.value.id}"
