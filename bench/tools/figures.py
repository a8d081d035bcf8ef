"""Percentiles, tables and the line that says on what machine they were made. All that the benches print goes through
here.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Spread:
    """p50, p95 and p99 of measured times, and how many there were. The unit is the caller's."""

    count: int
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, taken: Iterable[float]) -> Spread:
        """By nearest rank: each figure is one that was really measured."""
        found = sorted(taken)
        if not found:
            raise ValueError("nothing was measured")
        return cls(len(found), statistics.median_low(found), _rank(found, 0.95), _rank(found, 0.99))

    def cells(self, digits: int = 1) -> list[str]:
        return [f"{value:.{digits}f}" for value in (self.p50, self.p95, self.p99)]


def _rank(found: Sequence[float], share: float) -> float:
    return found[math.ceil(share * len(found)) - 1]


def begin(module: str, argv: Sequence[str] | None) -> None:
    """Say by what command, when and on what the figures were made."""
    words = list(sys.argv[1:] if argv is None else argv)
    say(
        f"command: script/bench {module.rpartition('.')[2]}"
        if not words
        else f"command: python -m {module} {' '.join(words)}"
    )
    say(f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; machine: {machine()}")


def machine() -> str:
    """In one line: figures of another machine are not to be compared with these."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = " ".join(f"{number:.1f}" for number in os.getloadavg())
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, Linux {platform.release()}, Python {python}, load {load}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table, aligned, so that it can be pasted into docs/benchmarks.md."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    say("")
    for line in (lines[0], rule, *lines[1:]):
        first = line[0].ljust(widths[0])
        say(
            "| "
            + " | ".join([first, *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))])
            + " |"
        )
    say("")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
