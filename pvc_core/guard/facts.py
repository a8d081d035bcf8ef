"""What the heartbeat tells of the machine, from /proc."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Facts:
    memory_total_bytes: int = 0
    memory_free_bytes: int = 0
    """What the kernel calls available."""
    load: float = 0.0
    """Over one minute."""


def read_facts(proc: Path = PROC) -> Facts:
    """Zeros for what cannot be read: a heartbeat without figures is better than none."""
    memory = _meminfo(proc / "meminfo")
    return Facts(memory.get("MemTotal", 0), memory.get("MemAvailable", 0), _load(proc / "loadavg"))


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
