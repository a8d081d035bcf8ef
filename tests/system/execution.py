"""Who executes a guest, seen from outside: no libvirt, no record of PVC's is asked, both may be wrong.

A guest executes on a node while its own counter grows on that node's console, or while the thread of its virtual CPU
uses processor time there. A copy that is paused or still arriving does neither.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab_fixture import RunningLab

LOOK_S = 0.02
OVERLAP_S = 0.5
"""A guest that moves back and forth needs longer than this; two that run show both within it."""
CPU_TICKS = 3
"""Of a hundredth of a second: what a virtual CPU uses to become paused is less."""
_TICK = re.compile(rb"tick (\d+)")


@dataclass(frozen=True)
class Sign:
    """It executed on `node` at `at_s` (monotonic); `count` is its own counter, 0 when only its CPU tells."""

    at_s: float
    node: str
    count: int = 0


class ExecutionWatch:
    """Looks until `stop`; `signs` is what it saw, `double` says in words that two executed at once."""

    def __init__(self, lab: RunningLab, vm: str, uuid: str) -> None:
        self._name = f"guest={vm},".encode()
        self._nodes = lab.nodes
        self._logs = {node: lab.path(node) / f"var/log/libvirt/{uuid}.log" for node in lab.nodes}
        self._seen = {node: self._size(node) for node in lab.nodes}
        self._hosts: dict[str, str] = {lab.pid_namespace(node): node for node in lab.nodes}
        self._lab = lab
        self._cpu: dict[int, tuple[float, int]] = {}
        self._stopped = threading.Event()
        self.signs: list[Sign] = []
        self.double = ""
        self._thread = threading.Thread(target=self._run, name=f"watch {vm}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(10)

    def executing(self, for_s: float = 2.0) -> set[str]:
        """The nodes it executed on within the last `for_s` seconds, by its counter."""
        since_s = time.monotonic() - for_s
        return {sign.node for sign in reversed(self.signs) if sign.count and sign.at_s > since_s}

    def count(self) -> int:
        """The last number it told, on whichever node."""
        return next((sign.count for sign in reversed(self.signs) if sign.count), 0)

    def began_anew(self) -> bool:
        """It counted from the beginning again: its memory did not come along."""
        told = [sign.count for sign in self.signs if sign.count]
        return any(after < before for before, after in itertools.pairwise(told))

    def stood_still_s(self) -> float:
        """The longest time between two numbers that follow each other."""
        told = [sign.at_s for sign in self.signs if sign.count]
        return max((after - before for before, after in itertools.pairwise(told)), default=0.0)

    def _run(self) -> None:
        looks = 0
        while not self._stopped.wait(LOOK_S):
            for node in self._nodes:
                self._read(node)
            if looks % 10 == 0:
                self._look_at_cpus()
            looks += 1

    def _read(self, node: str) -> None:
        size = self._size(node)
        if size <= self._seen[node]:
            self._seen[node] = size  # it was shortened
            return
        with self._logs[node].open("rb") as log:
            log.seek(self._seen[node])
            whole = log.read().rpartition(b"\n")[0]
        self._seen[node] += len(whole)
        if numbers := _TICK.findall(whole):
            self._note(Sign(time.monotonic(), node, int(numbers[-1])))

    def _look_at_cpus(self) -> None:
        """Each QEMU of it, whatever node it belongs to."""
        for pid in self._processes():
            used, now_s = _cpu_ticks(pid), time.monotonic()
            since_s, before = self._cpu.get(pid, (now_s, used))
            self._cpu[pid] = (now_s, used)
            node = self._node_of(pid)
            if used - before >= CPU_TICKS and node and now_s - since_s < OVERLAP_S:
                self._note(Sign(now_s, node))

    def _note(self, sign: Sign) -> None:
        """A, B and A again within moments are two guests: no migration is as quick."""
        recent = [old for old in self.signs[-100:] if sign.at_s - old.at_s < OVERLAP_S]
        mine = [old for old in recent if old.node == sign.node]
        others = [old for old in recent if old.node != sign.node]
        if mine and others and mine[0].at_s < others[-1].at_s and not self.double:
            self.double = f"it executed on {sign.node} and on {others[-1].node} within {OVERLAP_S} s: {recent} {sign}"
        self.signs.append(sign)

    def _processes(self) -> list[int]:
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    if self._name in Path(f"/proc/{entry}/cmdline").read_bytes()[:200]:
                        found.append(int(entry))
        return found

    def _node_of(self, pid: int) -> str:
        with contextlib.suppress(OSError):
            space = os.readlink(f"/proc/{pid}/ns/pid")
            if space not in self._hosts:  # a node that was switched on again
                self._hosts = {self._lab.pid_namespace(node): node for node in self._nodes}
            return self._hosts.get(space, "")
        return ""

    def _size(self, node: str) -> int:
        try:
            return self._logs[node].stat().st_size
        except OSError:
            return 0


def _cpu_ticks(pid: int) -> int:
    """Of its virtual CPUs' threads, which libvirt has QEMU name (debug-threads=on)."""
    ticks = 0
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                if (thread / "comm").read_text().startswith("CPU "):
                    fields = (thread / "stat").read_text().rpartition(")")[2].split()
                    ticks += int(fields[11]) + int(fields[12])
    return ticks
