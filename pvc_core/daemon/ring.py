"""The last lines of this process's log in memory, for `pvc node log`; what a line looks like is lines.py's."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from itertools import islice


class LogRing:
    """The last `capacity` lines, and followers that miss none of those that come. Safe from any thread."""

    def __init__(self, capacity: int = 5000) -> None:
        self._lines: deque[str] = deque(maxlen=capacity)
        self._count = 0
        """Lines ever appended; the number of the next one."""
        self._changed = threading.Condition()

    def append(self, line: str) -> None:
        with self._changed:
            self._lines.append(line)
            self._count += 1
            self._changed.notify_all()

    def lines(self, count: int | None = None) -> list[str]:
        """The last `count` lines (all there are if None), the oldest first."""
        with self._changed:
            kept = list(self._lines)
        return kept if count is None else kept[len(kept) - min(count, len(kept)) :]

    def follow(self, *, last: int = 0, idle_s: float = 1.0) -> Iterator[str]:
        """The `last` lines, then each new one from this call on, without end and without gaps.

        Yields "" when nothing came for `idle_s`, so that a reader can look whether it is still wanted. A reader slower
        than the log by more than the ring holds is told how many lines it missed.
        """
        with self._changed:
            start = self._count - min(last, len(self._lines))
        return self._from(start, idle_s)

    def _from(self, next_: int, idle_s: float) -> Iterator[str]:
        while True:
            missed, new = self._after(next_, idle_s)
            next_ += missed + len(new)
            if missed:
                yield f"({missed} lines were missed: they came faster than they were read)"
            yield from new or [""]

    def _after(self, next_: int, idle_s: float) -> tuple[int, list[str]]:
        with self._changed:
            if self._count == next_:
                self._changed.wait(idle_s)
            missed = max(0, self._count - len(self._lines) - next_)
            new = list(islice(reversed(self._lines), self._count - next_ - missed))
            return missed, new[::-1]


class RingHandler(logging.Handler):
    """Feeds a ring with the lines its formatter makes."""

    def __init__(self, ring: LogRing) -> None:
        super().__init__()
        self._ring = ring

    def emit(self, record: logging.LogRecord) -> None:
        self._ring.append(self.format(record))
