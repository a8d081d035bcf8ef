"""A daemon's life: threads that step the engines, signals, a clean end. What runs is built in build.py."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.contracts.compute import GuestEvent
from pvc_core.daemon.build import Node
from pvc_core.daemon.channel import Channel
from pvc_core.daemon.leaving import left
from pvc_core.daemon.notify import notify
from pvc_core.errors import Conflict, Exists, NotFound, PvcError, Refused, StoreUnavailable
from pvc_core.founding import firstkey
from pvc_core.ids import new_request_id
from pvc_core.model.cluster import Era
from pvc_core.model.node import DaemonState
from pvc_core.model.view import Kept
from pvc_core.store.base import Store

QUICK_THREADS, SLOW_THREADS, CARE_THREADS = 8, 16, 8
"""Slow ones may each be held by a copy for hours; a snapshot must not wait for them. A rung that hangs holds one of
care's until its deadline.
"""
END_S = 10.0
OVER_LOOK_S = 0.5


class NodeLife:
    """Runs one pvcnoded until `stop`. Ending it disturbs no guest (design rule 11)."""

    def __init__(self, node: Node, peer: Channel, log: Any) -> None:
        self._node, self._peer, self._log = node, peer, log
        self._threads: list[threading.Thread] = []
        self._preparing = threading.Lock()
        self._era_id = ""
        """Of the life of the store in which this node was last announced."""

    def begin(self) -> None:
        """Answer questions, follow the store, reconcile. Raises Refused when another daemon runs on this node."""
        node = self._node
        self._peer.start()
        self._thread("view", node.keeper.run)
        self._thread("layout", self._prepare)
        node.keeper.subscribe(self._prepare_again)
        node.ground.compute.events(self._guest_event)
        for number in range(QUICK_THREADS):
            self._thread(f"quick-{number}", lambda: node.quick.work(lambda: node.keeper.view))
        for number in range(CARE_THREADS):
            self._thread(f"care-{number}", lambda: node.care.work(lambda: node.keeper.view))
        for number in range(SLOW_THREADS):
            self._thread(f"slow-{number}", lambda: node.slow.work(lambda: node.keeper.view))
        node.state = DaemonState.RUN
        node.host.begin(node.quick, self._wake_all, self._thread)
        node.quick.wake("node", node.config.node)
        node.quick.wake("report", node.config.node)
        if node.config.coordinator and not node.custody:
            node.care.wake("judge", layout.ONLY)
        for kind in () if node.custody else ("stats", "strangers", "roll call"):
            node.quick.wake(kind, node.config.node)

    def end(self) -> None:
        """Stop what this daemon does, leave the guests as they are, say so in the node's record."""
        node = self._node
        node.state = DaemonState.SHUTDOWN
        self._say(DaemonState.SHUTDOWN, "its pvcnoded is being stopped; guests run on")
        self._peer.stop()
        node.host.end(self._join)
        for engine in (node.care, node.quick, node.slow):
            engine.stop()
        for context in node.contexts.values():
            context.stop()
        for thread in self._threads:
            if thread.name.startswith(("care", "quick", "slow")):
                thread.join(END_S)
        gone = left(node.ground.repository, node.config.node, node.ground.incarnation, self._runs_none)
        node.hooks.close(2.0)
        for drivers in node.drivers.values():
            if drivers.stop is not None:
                drivers.stop()
        node.state = DaemonState.STOP
        if gone:
            self._say(DaemonState.STOP, "it left on purpose: no guest runs here, and it may be switched off", left=True)
        else:
            self._say(DaemonState.STOP, "pvcnoded was stopped; guests run on")
        node.keeper.stop()
        node.store.close()

    def _thread(self, name: str, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _join(self, name: str) -> None:
        for thread in self._threads:
            if thread.name == name:
                thread.join(END_S)

    def _wake_all(self) -> None:
        """Who is primary changed: everybody looks. Plugins are told apart: none may hold up the lease's thread."""
        for context in self._node.contexts.values():
            threading.Thread(target=context.tell_primary, name="primary-told", daemon=True).start()
        for engine in (self._node.care, self._node.quick, self._node.slow):
            engine.wake_all(self._node.keeper.view)

    def _guest_event(self, uuid: str, event: GuestEvent) -> None:
        """Something happened to a guest: look at it. RECONNECTED means that anything may have."""
        if event is GuestEvent.RECONNECTED or not uuid:
            self._node.quick.wake_all(self._node.keeper.view)
        else:
            self._node.quick.wake("vm", uuid)

    def _prepare_again(self, changed: frozenset[str] | None) -> None:
        """A store that was begun anew while this daemon ran does not know how this node is asked."""
        kept = self._node.keeper.view.era.get(layout.ONLY)
        if changed is None and not self._preparing.locked() and (kept is None or kept.value.id != self._era_id):
            self._thread("layout", self._prepare)

    def _prepare(self) -> None:
        with self._preparing:
            self._make_layout()

    def _make_layout(self) -> None:
        """Make the directories of the layout, each with its rights, as soon as the store is there."""
        while self._node.state not in (DaemonState.SHUTDOWN, DaemonState.STOP):
            try:
                era = prepare(self._node.store, self._node.config.cluster.name)
                firstkey.hand_in(self._node.config.paths.state, self._node.ground.repository)
                self._peer.announce()
                self._era_id = era.id
                return
            except Conflict:
                continue  # the answer to an earlier attempt was lost
            except StoreUnavailable as error:
                self._log.info(f"waiting for the store: {error.message}")
                threading.Event().wait(0.5)
            except PvcError as error:  # another cluster's store: nothing may be done on what it says
                self._log.error(str(error))
                self._node.quick.stop()
                self._node.slow.stop()
                return

    def _runs_none(self) -> bool:
        """Asks the hypervisor itself; in doubt it is no."""
        return not self._node.custody and not self._node.ground.compute.list_guests(deadline_s=5.0)

    def _say(self, state: DaemonState, sentence: str, *, left: bool = False) -> None:
        node = self._node
        try:
            kept: Kept[Any] | None = node.ground.repository.find(layout.NODE_SEEN, node.config.node)
            if kept is not None:
                said = replace(kept.value, daemon_state=state, sentence=sentence, left=left)
                node.ground.repository.set(layout.NODE_SEEN, node.config.node, said, if_version=kept.version)
        except (StoreUnavailable, Conflict, NotFound):
            pass  # the guard's heartbeat goes on, and that is what counts


def prepare(store: Store, cluster: str) -> Era:
    """Make the directories of the layout and the era, which is returned. Raises StoreUnavailable; Refused when the
    store is another cluster's.
    """
    repository = Repository(store)
    for kind in layout.KINDS:
        with contextlib.suppress(Exists):
            store.create(kind.prefix, b"")
    with contextlib.suppress(Exists):
        repository.add(layout.ERA, layout.ONLY, Era(era=1, cluster=cluster, id=new_request_id()))
    found = repository.get(layout.ERA, layout.ONLY).value
    if found.cluster != cluster:
        raise Refused(
            f"the store belongs to cluster {found.cluster!r}, not to {cluster!r}", help="mend cluster.name in pvc.yaml"
        )
    return found


def run_until_signal(
    begin: Callable[[], None], end: Callable[[], None], log: Any, over: Callable[[], bool] = lambda: False
) -> int:
    """Begin, tell the service manager, wait for SIGTERM or SIGINT (or until it is `over`), end. The exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        begin()
    except PvcError as error:
        log.error(str(error))
        return 1
    notify("READY=1", os.environ)
    while not stop.wait(OVER_LOOK_S) and not over():
        pass
    notify("STOPPING=1", os.environ)
    end()
    return 0
