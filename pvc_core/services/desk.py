"""What every service works with: the picture, the repository, the plugins' pure halves. Built once, in
daemon/build_services.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pvc_core.clock import Clock
from pvc_core.cluster import layout
from pvc_core.cluster.descriptions import Descriptions
from pvc_core.cluster.repository import Drop, Repository, Set, Unchanged, Write
from pvc_core.cluster.settled import Settling
from pvc_core.cluster.view import ViewKeeper
from pvc_core.contracts.compute import ComputeDefinitions
from pvc_core.contracts.network import NetworkDefinitions
from pvc_core.contracts.plugin import Plugin
from pvc_core.contracts.storage import StorageDefinitions
from pvc_core.errors import Conflict, Invalid, NotFound, Permanent, Refused, Retry, StoreUnavailable
from pvc_core.ids import new_task_id, new_uuid
from pvc_core.model.storage import Volume
from pvc_core.model.task import Task
from pvc_core.model.view import ClusterView, Kept
from pvc_core.model.vm import VmWanted
from pvc_core.services.network_checks import HostSide


class Reply(Protocol):
    """A node's answer: plain data, and bytes if the question asks for them."""

    result: Mapping[str, Any]
    body: Iterable[bytes]

    def ticking(self, tick_s: float) -> Iterator[bytes]:
        """Like `body` (use one of them), with a b"" each time nothing came for `tick_s`."""
        ...

    def close(self) -> None: ...


class Flow:
    """Bytes of a node as they come. close() ends it early, from any thread: whoever waits for a piece is let go."""

    def __init__(self, reply: Reply) -> None:
        self._reply, self._closed = reply, False

    def __iter__(self) -> Iterator[bytes]:
        """Raises Retry when it breaks off before its end."""
        try:
            yield from self._reply.body
        except Retry:
            if not self._closed:
                raise
        finally:
            self.close()

    def close(self) -> None:
        self._closed = True
        self._reply.close()


def _no_answer(error: StoreUnavailable) -> StoreUnavailable:
    """The same for whoever asked for the change, who has never heard of the store's keys."""
    if error.maybe_written:
        said, help = "the store gave no answer in time: whether this was changed is not known", "look, then try again"
    else:
        said, help = "nothing was changed: the store does not answer", "guests run on; try again when it does"
    return StoreUnavailable(said, maybe_written=error.maybe_written, help=help)


Ask = Callable[..., Reply]
"""ask(node, question, args, body=None, deadline_s=...): a question to a node over the peer channel."""


class Checks(Protocol):
    """The check hooks (pvc_core.loader.Hooks)."""

    def check(self, hook: str, /, **args: Any) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    keeper: ViewKeeper
    repository: Repository
    clock: Clock
    compute: ComputeDefinitions
    descriptions: Descriptions
    storage: Mapping[str, StorageDefinitions]
    """By driver name."""
    plugins: Mapping[str, Plugin]
    checks: Checks
    ask: Ask
    default_pool_driver: str = ""
    inline: bool = False
    """The simulator's way: settle in this very thread."""
    waiter: Callable[[Callable[[ClusterView], bool]], bool] | None = None
    """The simulator's way: let the cluster go on until it is true."""
    settling: Settling | None = None
    """What finds out about a write whose answer was lost; without it whoever asked is told that it is not known."""
    placing: Any = field(default_factory=threading.Lock)
    """Held from the look at the picture until it shows what was chosen: requests at once choose one after the other."""
    new_uuid: Callable[[], str] = new_uuid
    new_task_id: Callable[[], str] = new_task_id
    host_bridges: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, NetworkDefinitions] = field(default_factory=dict)
    """By the word of use.networks."""
    host_side: HostSide = field(default_factory=HostSide)

    _bound: threading.local = field(default_factory=threading.local)

    @property
    def view(self) -> ClusterView:
        return self.keeper.view

    def wait_until(self, true: Callable[[ClusterView], bool], *, timeout_s: float) -> bool:
        """Block until the picture satisfies `true`; False when it has not within `timeout_s`."""
        return self.waiter(true) if self.waiter else self.keeper.wait_until(true, timeout_s=timeout_s)

    def commit(self, *writes: Write) -> None:
        """All or nothing, and the picture shows it when this returns. Raises Refused when someone wrote at the same
        moment, StoreUnavailable when the store did not answer: whether it happened is found out where that can be.
        """
        try:
            self._commit([*self._expected(writes), *self._era()])
        except Conflict as error:
            self.settle(*writes)
            raise Refused(
                f"something else changed the same object at this moment ({error.message})",
                help="look at it and try again",
            ) from None
        except StoreUnavailable as error:
            raise _no_answer(error) from error
        self.settle(*writes)

    def _commit(self, writes: list[Write]) -> None:
        if self.settling is None:
            self.repository.commit(writes)
        else:
            self.settling.commit(self.repository.store, self.repository.ops(writes))

    @contextmanager
    def expecting(self, kind: layout.Kind[Any], id: str, version: int) -> Iterator[None]:
        """The first commit of this thread within goes through only if this record still has the version that was read.

        Raises Refused there otherwise.
        """
        self._bound.record = (kind, id, version)
        try:
            yield
        finally:
            self._bound.record = None

    def _expected(self, writes: tuple[Write, ...]) -> list[Write]:
        kind, id, version = getattr(self._bound, "record", None) or (None, "", 0)
        self._bound.record = None
        if kind is None:
            return list(writes)
        mine = [write for write in writes if write.kind is kind and write.id == id]
        for write in mine:
            if isinstance(write, Set | Drop) and write.if_version not in (None, version):
                raise Refused(f"{kind.name} {id} was changed meanwhile", help="look at it and try again")
        found: list[Write] = [
            replace(write, if_version=version) if isinstance(write, Drop) and write in mine else write
            for write in writes
        ]
        return found if mine else [*found, Unchanged(kind, id, version)]

    def _era(self) -> tuple[Write, ...]:
        """What is written belongs to the present life of the store: nothing goes into one that is being replaced.

        Raises Refused while it is.
        """
        kept = self.view.era.get(layout.ONLY)
        if kept is None:
            return ()
        if kept.value.restoring:
            raise Refused(
                f"the cluster's records are being replaced by task {kept.value.restoring}",
                help="try again when it has ended; `pvc task list` shows it",
            )
        return (Unchanged(layout.ERA, layout.ONLY, kept.version),)

    def settle(self, *writes: Write) -> None:
        self.settle_keys(*(write.kind.key(write.id) for write in writes))

    def settle_keys(self, *keys: str) -> None:
        """Records of one commit come into the picture one by one: an answer that rests on several settles them all."""
        self.keeper.settle(keys, inline=self.inline)

    def busy_with(self, volume: Volume) -> Task | None:
        """The task at work on it; one that the picture does not show yet counts."""
        if volume.task and volume.task not in self.view.tasks:
            self.settle_keys(layout.TASKS.key(volume.task))
        kept = self.view.tasks.get(volume.task)
        return None if kept is None or kept.value.ended else kept.value

    def need_vm(self, ref: str) -> Kept[VmWanted]:
        kept = self.view.vm(ref)
        if kept is None:
            index = self.view.vm_names.get(ref)
            unread = self.view.unread.get(layout.VM_WANTED.key(index.value.uuid if index else ref.lower()))
            if unread is not None:
                raise Permanent(
                    f"VM {ref} cannot be shown or changed here: a newer PVC wrote {unread}",
                    help="upgrade PVC on this node, or ask another coordinator",
                )
            raise NotFound(f"no VM has the name or UUID {ref!r}", help="`pvc vm list` shows those there are")
        return kept

    def node_known(self, name: str) -> str:
        if name not in self.view.node_seen:
            known = ", ".join(sorted(self.view.node_seen)) or "none yet"
            raise Invalid(f"there is no node {name!r}", help=f"known nodes: {known}", fields={"node": "unknown node"})
        return name
