"""What must go on whatever the store does: the deadline and its consequences, permits that ended, floating addresses
whose lease has ended, the hardware watchdog.

Runs in a thread that never speaks to the store and never waits for one that does.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Protocol

from pvc_core.clock import Clock
from pvc_core.daemon.once import Once
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.floating import drop_overdue
from pvc_core.guard.permits import Permits
from pvc_core.guard.selffence import SelfFence

_STEP_S = 0.5
_GAP_S = 3.0

_log = logging.getLogger("pvcguard")


class Feeding(Protocol):
    """watchdog.Watchdog."""

    def feed(self, now_s: float) -> None: ...


class Watch:
    """`run` is paths.run, where pvcnoded says which floating addresses this node holds until when."""

    def __init__(
        self,
        deadline: Deadline,
        permits: Permits,
        fence: SelfFence,
        clock: Clock,
        once: Once,
        run: Path,
        watchdog: Feeding | None = None,
    ) -> None:
        self._deadline = deadline
        self._run = run
        self._permits = permits
        self._fence = fence
        self._clock = clock
        self._once = once
        self._watchdog = watchdog
        self._last_s = clock.boottime_s()
        self._swept_s = 0.0

    def run(self, stop: threading.Event) -> None:
        """Until `stop`, or until this incarnation is over."""
        while not self._fence.over and not stop.wait(self._wait_s()):
            self.tick()

    def tick(self) -> None:
        """The deadline first: after a suspend it may be long past. Raises nothing."""
        now_s = self._clock.boottime_s()
        self._act(now_s)
        self._feed()
        self._tell(now_s)
        self._tell_gap(now_s - self._last_s)
        self._last_s = now_s
        if now_s - self._swept_s >= _STEP_S:
            self._swept_s = now_s
            self._drop_addresses(now_s)
            self._sweep()

    def _feed(self) -> None:
        if self._watchdog is None or not self._fence.safe:
            return
        try:
            self._watchdog.feed(self._clock.boottime_s())
        except OSError as error:
            self._once.begin("watchdog", f"the watchdog cannot be fed: {error.strerror}", level=logging.ERROR)
        else:
            self._once.end("watchdog", "the watchdog is fed again")

    def _wait_s(self) -> float:
        return min(_STEP_S, max(0.01, self._fence.next_s(self._clock.boottime_s())))

    def _act(self, now_s: float) -> None:
        try:
            self._fence.step(now_s)
        except Exception as error:  # noqa: BLE001 - tried again at once; the watchdog is not fed meanwhile
            self._fence.safe = False
            self._once.begin("fence", "it cannot be seen which guests run here", level=logging.ERROR, error=error)
        else:
            self._once.end("fence", "it can be seen again which guests run here")

    def _sweep(self) -> None:
        try:
            self._permits.sweep()
        except Exception as error:  # noqa: BLE001 - disk or bug: the deadline must be looked at all the same
            self._once.begin("sweep", "launch permits that ended cannot be removed", error=error)
        else:
            self._once.end("sweep", "launch permits that ended are removed again")

    def _drop_addresses(self, now_s: float) -> None:
        """Also while pvcnoded is stopped: the next primary must find them free (B7)."""
        try:
            dropped = drop_overdue(self._run, now_s, all=self._deadline.has_passed(now_s))
        except (OSError, ValueError) as error:
            self._once.begin("floating", "floating addresses whose lease has ended cannot be taken down", error=error)
            return
        self._once.end("floating", "floating addresses can be taken down again")
        if dropped:
            _log.warning("the lease has ended without pvcnoded: took down %s", ", ".join(dropped))

    def _tell(self, now_s: float) -> None:
        if self._deadline.condemned:
            words = f"this node is given up: {self._deadline.condemned}; its guests are ended"
            self._once.begin("condemned", words, level=logging.ERROR)
        elif self._deadline.has_passed(now_s):
            self._once.begin("deadline", f"{self._silence(now_s)}: no guest may start here", level=logging.ERROR)
        else:
            self._once.end("deadline", "the store hears this node again: guests may start here")

    def _silence(self, now_s: float) -> str:
        sent_s = self._deadline.last_sent_s
        if sent_s is None:
            return "the store has not heard this node since it booted"
        return f"the store last heard this node {now_s - sent_s:.1f} s ago, its limit is {self._deadline.limit_s:g} s"

    def _tell_gap(self, gap_s: float) -> None:
        if gap_s > _GAP_S:
            _log.warning("pvcguard did not run for %.1f s: the machine was suspended or overloaded", gap_s)
