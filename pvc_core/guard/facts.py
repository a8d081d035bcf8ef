"""What the heartbeat tells of the machine, from /proc and /sys, and what pvcnoded last said of its guests."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pvc_core.guard.nics import Nics
from pvc_core.guard.report import Report, read_report

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Facts:
    memory_total_bytes: int = 0
    memory_free_bytes: int = 0
    """What the kernel calls available."""
    load: float = 0.0
    """Over one minute."""
    cpu_count: int = 0
    interfaces: Mapping[str, dict[str, object]] = field(default_factory=dict)
    report: Report | None = None


def read_facts(now_s: float, run: Path, nics: Nics, proc: Path = PROC) -> Facts:
    """Zeros for what cannot be read: a heartbeat without figures is better than none. `now_s`: boot time."""
    memory = _meminfo(proc / "meminfo")
    return Facts(
        memory_total_bytes=memory.get("MemTotal", 0),
        memory_free_bytes=memory.get("MemAvailable", 0),
        load=_load(proc / "loadavg"),
        cpu_count=os.cpu_count() or 1,
        interfaces=nics.rates(now_s),
        report=read_report(run, now_s),
    )


def _meminfo(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
        return {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    except (OSError, ValueError, IndexError):
        return {}


def _load(path: Path) -> float:
    try:
        return float(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
