"""Where the seconds of a failover went: the moments as the nodes' own logs tell them, merged.

Right only in a lab, whose nodes share one machine's clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

STEPS = ("given up", "agreed", "proved", "let go", "running")
"""In order. Agreed: by two of three coordinators; running: the last guest's node says so."""
_LINE = re.compile(r"^(\d{4}-\d\d-\d\dT[0-9:.]+Z) \w+ (.*)$")


def moments(logs: Iterable[Path], node: str, guests: int, since_s: float) -> dict[str, float]:
    """Step -> Unix time, of `node`'s loss after `since_s`. `logs`: of all nodes' pvcnoded and pvcguard."""
    lines = sorted((at_s, line) for log in logs for at_s, line in _lines(log) if at_s >= since_s)
    signs = {
        "given up": (rf"node {node} is given up: ", 1),
        "agreed": (rf"agreed that {node}@", 2),
        "proved": (rf"object=ladder/{node}@\S+ proved: ", 1),
        "let go": (rf"guests of node {node} are let go", 1),
        "running": (r"object=vm/\S+ running on ", guests),
    }
    found = {}
    for step, (sign, nth) in signs.items():
        at = [at_s for at_s, line in lines if re.search(sign, line)]
        if len(at) >= nth:
            found[step] = at[nth - 1]
    return found


def _lines(log: Path) -> Iterator[tuple[float, str]]:
    for line in log.read_text(errors="replace").splitlines():
        if found := _LINE.match(line):
            yield datetime.fromisoformat(found[1]).timestamp(), found[2]
