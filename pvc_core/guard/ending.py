"""The end of an incarnation that is given up: every guest process is killed and seen gone, then the node may say so.

Nothing can start meanwhile: launch permits are taken away first. A call that had passed the hypervisor's hook just
before shows up as a process soon after; so "gone" means that none was seen for a while.
"""

from __future__ import annotations

import signal

from pvc_core.guard.permits import Permits
from pvc_core.guard.processes import Guest, Processes, Standing

SETTLE_S = 2.0
"""From the hypervisor's hook, which reads the permit, to QEMU's own command line in /proc it takes milliseconds."""


class Ending:
    """One thread uses it, again and again until `done`."""

    def __init__(self, processes: Processes, permits: Permits) -> None:
        self._processes = processes
        self._permits = permits
        self._killed: set[Guest] = set()
        self._clear_since_s: float | None = None

    @property
    def killed(self) -> int:
        return len(self._killed)

    def step(self, now_s: float) -> list[Guest]:
        """Kill whoever is there. Returns those that are not gone yet. Raises OSError when that cannot be found out."""
        self._permits.end()
        there = self._processes.guests()
        for guest in there:
            self._killed.add(guest)
            self._processes.send(guest, signal.SIGKILL)
        left = [guest for guest in self._killed if self._processes.standing(guest) is not Standing.GONE]
        if there or left:
            self._clear_since_s = None
        elif self._clear_since_s is None:
            self._clear_since_s = now_s
        return left

    def done(self, now_s: float) -> bool:
        return self._clear_since_s is not None and now_s - self._clear_since_s >= SETTLE_S
