"""Whether a guest executes, read off the kernel from outside all nodes: the time its threads were given, by UUID.

Nobody is asked: libvirt lists a guest that stands still as running, and so does a node that is cut off.
"""

from __future__ import annotations

import time
from pathlib import Path


def processes(uuid: str) -> list[Path]:
    """Of the whole machine, all nodes of all labs."""
    return [path for path in Path("/proc").iterdir() if path.name.isdigit() and _carries(path, uuid)]


def run_ns(uuid: str) -> int:
    """Nanoseconds on a processor, over all threads of all processes of that guest (proc(5), schedstat)."""
    return sum(_thread_ns(thread) for process in processes(uuid) for thread in _threads(process))


def stands_still(uuid: str, *, for_s: float = 1.5) -> bool:
    """There, and not a nanosecond on a processor. An idle guest of the lab counts a second every second."""
    before = run_ns(uuid)
    time.sleep(for_s)
    return bool(processes(uuid)) and run_ns(uuid) == before


def is_stopped(uuid: str) -> bool:
    """There, and every thread of it is stopped (proc(5), state T). On a busy machine the first sign of it."""
    threads = [thread for process in processes(uuid) for thread in _threads(process)]
    return bool(threads) and all(_state(thread) in ("T", "") for thread in threads)


def executes(uuid: str, *, for_s: float = 1.5) -> bool:
    before = run_ns(uuid)
    time.sleep(for_s)
    return run_ns(uuid) > before


def _carries(process: Path, uuid: str) -> bool:
    try:
        arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return "-uuid" in arguments and arguments[arguments.index("-uuid") + 1] == uuid


def _threads(process: Path) -> list[Path]:
    try:
        return list((process / "task").iterdir())
    except OSError:
        return []


def _state(thread: Path) -> str:
    try:
        return (thread / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _thread_ns(thread: Path) -> int:
    try:
        return int((thread / "schedstat").read_text().split()[0])
    except (OSError, IndexError):
        return 0
