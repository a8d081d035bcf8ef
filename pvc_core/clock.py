# SPDX-License-Identifier: LGPL-3.0-or-later
"""Time, handed in. No decision code reads a clock of its own, so that a test can move it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the rest of PVC may know of time."""

    def boottime_s(self) -> float:
        """Seconds since boot, counting suspend (CLOCK_BOOTTIME). All waiting and every deadline is measured in it."""

    def wall_s(self) -> float:
        """Seconds since the epoch. For people and records only; no decision compares two machines' clocks."""


class SystemClock:
    """The machine's own clocks."""

    def boottime_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_s(self) -> float:
        return time.time()
