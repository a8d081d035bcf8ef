# SPDX-License-Identifier: LGPL-3.0-or-later
"""A clock that stands still until a test moves it."""

from __future__ import annotations


class OwnClock:
    """One machine's clock: the true time, at a rate of its own and from its own beginning."""

    def __init__(self, true: FakeClock, *, rate: float = 1.0, began_s: float = 0.0) -> None:
        self.true, self.rate, self.began_s = true, rate, began_s

    def boottime_s(self) -> float:
        return self.began_s + self.true._boottime_s * self.rate

    def wall_s(self) -> float:
        return self.true.wall_s()


class FakeClock:
    """Both clocks move together, by `move` alone."""

    def __init__(self, *, boottime_s: float = 1000.0, wall_s: float = 1_800_000_000.0) -> None:
        self._boottime_s, self._wall_s = boottime_s, wall_s

    def boottime_s(self) -> float:
        return self._boottime_s

    def wall_s(self) -> float:
        return self._wall_s

    def move(self, seconds: float) -> None:
        """Let `seconds` pass (never backwards)."""
        assert seconds >= 0
        self._boottime_s += seconds
        self._wall_s += seconds
