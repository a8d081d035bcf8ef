"""`pvcnoded leave`: this machine is about to be shut down. Its guests go to other nodes, those that cannot go are shut
down cleanly; called by the service manager before it stops anything of PVC (deploy/pvc-leave.service).

It writes what is wanted and waits; the primary moves the guests (reconcile/flush.py), and this node's pvcnoded puts on
record, when it is stopped after this, that the node left on purpose (life.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

from pvc_core.clock import Clock, SystemClock
from pvc_core.cluster import layout
from pvc_core.cluster.repository import Add, Repository, Set
from pvc_core.config import load
from pvc_core.daemon.opening import open_store
from pvc_core.errors import Conflict, Exists, NotFound, PvcError, Refused, StoreUnavailable
from pvc_core.guard.client import Guard
from pvc_core.ids import new_task_id
from pvc_core.model.node import DaemonState, DomainState, NodeSeen, NodeWanted
from pvc_core.model.task import Task

LOOK_S = 0.5
SHUTDOWN_S = 200.0
"""After the deadline guests are shut down, and one that does not obey is switched off after 180 s."""
AWAY_S = 30.0
"""So long a stopped pvcnoded may take to be started again."""


@dataclass(slots=True)
class Leaving:
    """`say`: a line for the log. `waits`: lets time pass."""

    node: str
    incarnation: str
    repository: Repository
    clock: Clock
    say: Callable[[str], object]
    waits: Callable[[float], object]
    order: str = ""
    _told: str = ""

    def leave(self, deadline_s: float) -> None:
        """Returns when no guest is here. Raises Refused when that was not to be had: those that are left end with the
        machine.
        """
        end = self.clock.boottime_s() + deadline_s
        self._until(lambda: self._ask(hurry=False), end, "the store gives no answer")
        if self._empty_by(end):
            return
        self._tell("time is up: the guests that are left are shut down")
        end = self.clock.boottime_s() + SHUTDOWN_S
        self._until(lambda: self._ask(hurry=True), end, "the store gives no answer")
        if not self._empty_by(end):
            raise Refused(f"guests are left on {self.node}, and end with the machine: {self._told}")

    def _ask(self, *, hurry: bool) -> bool:
        """Writes the order. What was wanted of the node before comes back with its next boot."""
        kept = self.repository.find(layout.NODE_WANTED, self.node)
        old = kept.value if kept else NodeWanted(name=self.node)
        if self.order:
            self._still_leaves()
        asked = replace(
            old,
            domain_state=DomainState.FLUSHED,
            asked_by="shutdown",
            leaving=self.incarnation,
            hurry=hurry,
            back_to=old.back_to if old.leaving else old.domain_state,
        )
        if not hurry:
            asked = replace(asked, order=new_task_id())
        task = Task(
            id=asked.order, kind="node.flush", args={"node": self.node}, total=0, status=f"shutting down: {self.node}",
            asked_by="shutdown", asked_at_s=self.clock.wall_s(),
        )  # fmt: skip
        wanted = Add(layout.NODE_WANTED, self.node, asked) if kept is None else Set(
            layout.NODE_WANTED, self.node, asked, kept.version
        )  # fmt: skip
        self.repository.commit((wanted,) if hurry else (wanted, Add(layout.TASKS, task.id, task)))
        self.order = asked.order
        return True

    def _empty_by(self, end_s: float) -> bool:
        away_s = self.clock.boottime_s() + AWAY_S
        while self.clock.boottime_s() < end_s:
            try:
                seen = self.repository.get(layout.NODE_SEEN, self.node).value
                if seen.domain_state is DomainState.FLUSHED and seen.order_done == self.order:
                    return True
                self._still_leaves()
                self._tell(self._how_far(seen))
                if seen.daemon_state is DaemonState.RUN:
                    away_s = self.clock.boottime_s() + AWAY_S
                elif self.clock.boottime_s() > away_s:
                    raise Refused(f"pvcnoded of {self.node} does not run, so its guests end with the machine")
            except (StoreUnavailable, NotFound) as error:
                self._tell(f"waiting for the store: {error.message}")
            self.waits(LOOK_S)
        return False

    def _still_leaves(self) -> None:
        kept = self.repository.find(layout.NODE_WANTED, self.node)
        if kept is not None and kept.value.order != self.order:
            raise Refused(
                f"node {self.node} was asked to be {kept.value.domain_state} by {kept.value.asked_by} meanwhile, so its"
                " guests stay"
            )

    def _how_far(self, seen: NodeSeen) -> str:
        task = self.repository.find(layout.TASKS, self.order)
        return task.value.status if task is not None and not task.value.ended else seen.sentence

    def _until(self, does: Callable[[], bool], end_s: float, otherwise: str) -> None:
        """Until it was done for certain: doing it twice changes nothing."""
        while True:
            try:
                does()
                return
            except (StoreUnavailable, Conflict, Exists) as error:
                if self.clock.boottime_s() > end_s:
                    raise Refused(f"{otherwise}, so the guests of {self.node} end with the machine") from None
                self._tell(f"waiting for the store: {error.message}")
            self.waits(LOOK_S)

    def _tell(self, sentence: str) -> None:
        if sentence != self._told:
            self._told = sentence
            self.say(sentence)


def leave_command(options: argparse.Namespace) -> int:
    """Exit code 0 when no guest is left here, 1 with the reason otherwise."""
    config, clock = load(options.config, node=options.node), SystemClock()
    store = open_store(config, "node")
    try:
        leaving = Leaving(
            node=config.node,
            incarnation=Guard(config.paths.run).incarnation(),
            repository=Repository(store),
            clock=clock,
            say=lambda sentence: print(sentence, flush=True),
            waits=options.waits,
        )
        leaving.leave(options.deadline)
        print(f"no guest is left on {config.node}; it is to be shut down", flush=True)
    finally:
        store.close()
    return 0


def left(repository: Repository, node: str, incarnation: str, runs_none: Callable[[], bool]) -> bool:
    """Whether this node, whose pvcnoded ends now, leaves on purpose: it was asked to, gave its guests up, none runs."""
    try:
        wanted, seen = repository.find(layout.NODE_WANTED, node), repository.find(layout.NODE_SEEN, node)
        if wanted is None or seen is None or wanted.value.leaving != incarnation:
            return False
        gave_up = seen.value.domain_state is DomainState.FLUSHED and seen.value.order_done == wanted.value.order
        return gave_up and runs_none()
    except PvcError:
        return False
