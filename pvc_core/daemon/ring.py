"""The last lines of this daemon's log, for `pvc node log`: in memory, and in a file that the next process reads.

Lines are numbered for ever, so that a follower finds its place again. What a line looks like is lines.py's.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

_FILES_RINGS = 2
"""The file is written anew when it has so many times the ring's lines."""


class LogRing:
    """The last `capacity` lines, and followers that miss none of those that come. Safe from any thread."""

    def __init__(self, capacity: int = 5000) -> None:
        self._lines: deque[str] = deque(maxlen=capacity)
        self._count = 0
        """Lines ever appended; the number of the next one."""
        self._changed = threading.Condition()
        self._file: IO[str] | None = None
        self._path: Path | None = None
        self._written = 0

    def keep(self, path: Path) -> None:
        """From now on lines are kept at `path`, too; those an earlier process kept there come before ours.

        Called once, by who is alone in having the file. Raises OSError.
        """
        with self._changed:
            old, next_ = _read(path, self._lines.maxlen or 0)
            self._lines = deque([*old, *self._lines], maxlen=self._lines.maxlen)
            self._count += next_
            self._path = path
            self._rewrite()
            self._changed.notify_all()

    def append(self, line: str) -> None:
        with self._changed:
            self._lines.append(line)
            self._count += 1
            self._keep_line(line)
            self._changed.notify_all()

    def _keep_line(self, line: str) -> None:
        """A disk that is full costs the next process lines, not this one."""
        if self._file is None:
            return
        try:
            self._file.write(f"{self._count - 1} {line}\n")
            self._file.flush()
            self._written += 1
            if self._written > _FILES_RINGS * (self._lines.maxlen or 0):
                self._rewrite()
        except (OSError, ValueError):
            pass

    def _rewrite(self) -> None:
        """The file with what the ring holds, whole or not at all. Raises OSError."""
        assert self._path is not None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_name(self._path.name + ".new")
        first = self._count - len(self._lines)
        new.touch(mode=0o600)
        text = "".join(f"{number} {line}\n" for number, line in enumerate(self._lines, first))
        new.write_text(text, encoding="utf-8", errors="replace")  # half a surrogate pair, of a file's name, is no text
        new.replace(self._path)
        if self._file is not None:
            self._file.close()
        self._file, self._written = self._path.open("a", encoding="utf-8", errors="replace"), len(self._lines)

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
        return self.follow_from(self.start(last), idle_s=idle_s)

    def start(self, last: int, number: int | None = None) -> int:
        """The number of the line that comes first: of the last `last`, or `number` if there may be such a line."""
        with self._changed:
            found = self._count - min(last, len(self._lines))
            return number if number is not None and number <= self._count else found

    def follow_from(self, next_: int, *, idle_s: float = 1.0) -> Iterator[str]:
        """As `follow`, from line number `next_` on."""
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


def _read(path: Path, most: int) -> tuple[list[str], int]:
    """(the last lines kept there, the number of the next one)."""
    try:
        found = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return [], 0
    numbered = [(int(number), line) for number, _, line in (text.partition(" ") for text in found) if number.isdigit()]
    return [line for _, line in numbered[-most:]], numbered[-1][0] + 1 if numbered else 0
