"""The loop that all kinds share: which key is due, one step for it, when it is due again. Threads are the daemon's."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from pvc_core.clock import Clock
from pvc_core.errors import Conflict, PvcError, Retry, StoreUnavailable
from pvc_core.model.view import ClusterView
from pvc_core.reconcile.outcome import Outcome

Job = tuple[str, str]
"""(kind, key)."""

CONFLICT_AGAIN_S = 0.02
STORE_AGAIN_S = 1.0
PERMANENT_AGAIN_S = 60.0
CRASH_AGAIN_S = 10.0
HELD_AGAIN_S = 2.0
TOLD_WHEN_HELD = ("vm", "task")
"""What people look at; of the rest the node's health says why nothing is done."""
HEAP_SPARE = 1000
EVERY = "*"
"""What `concerned` answers when a change concerns all of a kind's keys; no name of an object."""


class Reconciler(Protocol):
    """One file of this folder. `kind` is its word in logs."""

    @property
    def kind(self) -> str: ...

    def keys(self, view: ClusterView) -> Iterable[str]:
        """Every key it may have to look at."""

    def concerned(self, store_key: str) -> str | None:
        """Its own key that a change of `store_key` concerns, None if none, EVERY if all."""

    def step(self, key: str) -> Outcome:
        """One step. May raise any PvcError: the engine words it and comes back in time."""

    def note(self, key: str, outcome: Outcome) -> None:
        """The step's last word, also when it was an error. For reconcilers that show it; must not raise."""


class Engine:
    """At most one step per key at a time; a wake during a step means one more step after it. Never asks for the news:

    a step reads the world as it is. `take` and `run` are called by the daemon's threads, or by a simulator in its own
    order.
    """

    def __init__(
        self,
        reconcilers: Iterable[Reconciler],
        clock: Clock,
        log: Any,
        *,
        resync_s: float = 60.0,
        held: Callable[[str, str], str] = lambda kind, key: "",
        rank: Callable[[str, str], int] = lambda kind, key: 0,
    ) -> None:
        """`held` says why nothing is done about (kind, key) now, "" when it may be. Of keys that are due at the same
        time those of the lowest `rank` are taken first.
        """
        self._held, self._rank = held, rank
        self._kinds = {reconciler.kind: reconciler for reconciler in reconcilers}
        self._clock, self._log, self._resync_s = clock, log, resync_s
        self._changed = threading.Condition()
        self._due: dict[Job, float] = {}
        self._heap: list[tuple[float, Job]] = []
        self._ready: list[tuple[int, float, Job]] = []
        """Those of the heap whose time has come, by rank."""
        self._running: set[Job] = set()
        self._again: set[Job] = set()
        self._said: dict[Job, str] = {}
        self._resync_at_s = 0.0
        self._stopping = False

    def wake(self, kind: str, key: str, *, in_s: float = 0.0) -> None:
        """Look at this key (now, or within `in_s` seconds)."""
        self._schedule((kind, key), self._clock.boottime_s() + in_s)

    def wake_all(self, view: ClusterView) -> None:
        for kind, reconciler in self._kinds.items():
            for key in list(reconciler.keys(view)):
                self.wake(kind, key)

    def changed(self, view: ClusterView, store_keys: frozenset[str] | None) -> None:
        """The picture changed: wake whom it concerns (None: anybody)."""
        if store_keys is None:
            return self.wake_all(view)
        for store_key in store_keys:
            for kind, reconciler in self._kinds.items():
                key = reconciler.concerned(store_key)
                for one in list(reconciler.keys(view)) if key is EVERY else () if key is None else (key,):
                    self.wake(kind, one)
        return None

    def take(self) -> Job | None:
        """A job that is due and not being worked on; None if there is none now."""
        if not self._ready and not (self._heap and self._heap[0][0] <= self._clock.boottime_s()):
            return None  # asked far more often than anything is due
        with self._changed:
            return self._take()

    def run(self, job: Job) -> Outcome:
        """One step for a job taken; schedules the next one."""
        kind, key = job
        outcome, crashed = self._step(self._kinds[kind], key)
        self._tell(job, outcome, crashed)
        self._note(job, outcome)
        with self._changed:
            self._running.discard(job)
            now = self._clock.boottime_s()
            if job in self._again:
                self._again.discard(job)
                self._put(job, now)
            elif outcome.again_in_s is not None:
                self._put(job, now + outcome.again_in_s)
            self._changed.notify()
        return outcome

    def work(self, view: Any) -> None:
        """Take and run until `stop`: the body of a worker thread. `view()` is the present picture, for the resync."""
        while True:
            with self._changed:
                while not self._stopping and (job := self._take()) is None:
                    resync = self._resync_due()
                    if resync:
                        break
                    self._changed.wait(timeout=self._patience())
                if self._stopping:
                    return
            if job is None:
                self.wake_all(view())
            else:
                self.run(job)

    def stop(self) -> None:
        """Workers end after the step they are in."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def said(self) -> dict[str, str]:
        """The last sentence told of each object that has one, by "kind/key"."""
        return {f"{kind}/{key}": sentence for (kind, key), sentence in list(self._said.items())}

    def running(self) -> list[Job]:
        """What is being worked on at this moment."""
        with self._changed:
            return sorted(self._running)

    def next_due_s(self) -> float | None:
        """When the next job is due, for a simulator that moves its clock there."""
        with self._changed:
            return min((at for job, at in self._due.items() if job not in self._running), default=None)

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _step(self, reconciler: Reconciler, key: str) -> tuple[Outcome, bool]:
        if why := self._held(reconciler.kind, key):
            return Outcome(why if reconciler.kind in TOLD_WHEN_HELD else "", HELD_AGAIN_S), False
        try:
            return reconciler.step(key), False
        except Conflict:
            return Outcome("someone wrote at the same moment; looking again", CONFLICT_AGAIN_S), False
        except StoreUnavailable as error:
            return Outcome(f"waiting for the store: {error.message}", STORE_AGAIN_S), False
        except Retry as error:
            return Outcome(str(error), error.again_in_s), False
        except PvcError as error:
            return Outcome(str(error), PERMANENT_AGAIN_S), False
        except Exception as error:  # noqa: BLE001  # a bug in a reconciler or a driver must cost one object, not the daemon
            self._log.exception("step failed", object=f"{reconciler.kind}/{key}")
            return Outcome(f"internal error: {type(error).__name__}: {error}", CRASH_AGAIN_S), True

    def _tell(self, job: Job, outcome: Outcome, crashed: bool) -> None:
        """The same sentence is told once."""
        if outcome.sentence and self._said.get(job) != outcome.sentence:
            self._said[job] = outcome.sentence
            level = self._log.error if crashed else self._log.info
            level(outcome.sentence, object=f"{job[0]}/{job[1]}")
        if not outcome.sentence:
            self._said.pop(job, None)

    def _note(self, job: Job, outcome: Outcome) -> None:
        try:
            self._kinds[job[0]].note(job[1], outcome)
        except Exception:  # noqa: BLE001  # only words: they must cost neither the key nor the thread that serves it
            self._log.exception("the outcome could not be noted", object=f"{job[0]}/{job[1]}")

    def _take(self) -> Job | None:
        now = self._clock.boottime_s()
        while self._heap and self._heap[0][0] <= now:
            at, job = heapq.heappop(self._heap)
            if self._due.get(job) == at:
                heapq.heappush(self._ready, (self._rank(*job), at, job))
        while self._ready:
            _, at, job = heapq.heappop(self._ready)
            if self._due.get(job) == at and job not in self._running:
                del self._due[job]
                self._running.add(job)
                return job
        return None

    def _schedule(self, job: Job, at: float) -> None:
        with self._changed:
            if job in self._running:
                self._again.add(job)
            else:
                self._put(job, at)
                self._changed.notify()

    def _put(self, job: Job, at: float) -> None:
        if job not in self._due or at < self._due[job]:
            self._due[job] = at
            heapq.heappush(self._heap, (at, job))
            if len(self._heap) > HEAP_SPARE + 4 * len(self._due):  # appointments that were brought forward
                self._heap = [(due, one) for one, due in self._due.items()]
                heapq.heapify(self._heap)

    def _resync_due(self) -> bool:
        now = self._clock.boottime_s()
        if now < self._resync_at_s:
            return False
        first, self._resync_at_s = self._resync_at_s == 0.0, now + self._resync_s
        return not first

    def _patience(self) -> float:
        now = self._clock.boottime_s()
        nearest = self._heap[0][0] if self._heap else now + self._resync_s
        return max(0.001, min(nearest, self._resync_at_s) - now)
