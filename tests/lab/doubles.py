"""Who executes the guests of a lab, watched from outside all the time: no PVC, no libvirt and no record is asked.

A copy of a guest is one QEMU process, known by its -uuid. It executes while the threads of its virtual processors are
given time (proc(5), schedstat) or its own counter grows on the console log of its node. A copy that is frozen, paused
or still arriving does neither, and one that is killed does not come back: so two executed at once when each was seen
to go on after the other had (A, B, A, B within ALTERNATE_S).
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

LOOK_S, SEARCH_S = 0.1, 0.5
ALTERNATE_S = 4.0
"""An idle guest counts once a second; a migration to and fro takes longer than four of its halves."""
RUNS_NS = 1_000_000
"""In one look. What a virtual processor needs to stand still or to die is less; a second counted is more."""
_TICK = re.compile(rb"tick (\d+)")


class Nodes(Protocol):
    """What is asked of a lab: where its nodes are."""

    nodes: list[str]

    def pid_namespace(self, where: str) -> str: ...

    def root_of(self, where: str) -> Path: ...


@dataclass(frozen=True)
class Sign:
    """A guest executed in a copy on `node` at `at_s` (monotonic)."""

    at_s: float
    copy: str
    node: str


class Doubles:
    """Looks until `stop`. `found` says in words which guests executed twice at once; empty is what is hoped for."""

    def __init__(self, lab: Nodes) -> None:
        self._lab = lab
        self._spaces: dict[str, str] = {}
        self._copies: dict[int, tuple[str, str]] = {}
        self._used: dict[int, int] = {}
        self._logs: dict[Path, int] = {}
        self._recent: dict[tuple[str, str], deque[Sign]] = defaultdict(lambda: deque(maxlen=64))
        self._last: dict[str, dict[str, float]] = defaultdict(dict)
        self._first: dict[str, dict[str, Sign]] = defaultdict(dict)
        self._doubled: set[str] = set()
        self.found: list[str] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch execution", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(10)

    def executing(self, uuid: str, *, within_s: float = 2.0) -> set[str]:
        """The nodes on which it executed just now."""
        since_s = time.monotonic() - within_s
        return {node for node, at_s in list(self._last[uuid].items()) if at_s > since_s}

    def began_s(self, uuid: str, *, after_s: float, elsewhere_than: str) -> float | None:
        """When a copy that was not seen before `after_s` (monotonic) was first seen to execute on another node."""
        signs = [sign for sign in list(self._first[uuid].values()) if sign.at_s > after_s]
        return min((sign.at_s for sign in signs if sign.node != elsewhere_than), default=None)

    def copies(self, uuid: str) -> list[str]:
        """The node of each QEMU that carries it, executing or not."""
        return [node for of, node in list(self._copies.values()) if of == uuid]

    # -- looking -------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        searched_s = 0.0
        while not self._stopped.wait(LOOK_S):
            if time.monotonic() - searched_s > SEARCH_S:
                self._search()
                searched_s = time.monotonic()
            for pid in list(self._copies):
                self._look_at(pid)
            for log in list(self._logs):
                self._read(log)

    def _search(self) -> None:
        self._spaces = {space: node for node in self._lab.nodes if (space := self._lab.pid_namespace(node))}
        there = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (found := self._copy_of(int(entry))):
                there[int(entry)] = found
        self._copies = there
        self._used = {pid: used for pid, used in self._used.items() if pid in there}
        for node in self._lab.nodes:
            for log in (self._lab.root_of(node) / "var/log/libvirt").glob("*-*-*-*-*.log"):
                self._logs.setdefault(log, _size(log))

    def _copy_of(self, pid: int) -> tuple[str, str] | None:
        """(UUID, node) of a guest of this lab."""
        with contextlib.suppress(OSError):
            if not Path(f"/proc/{pid}/comm").read_text().startswith("qemu-system"):
                return None
            node = self._spaces.get(os.readlink(f"/proc/{pid}/ns/pid"))
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            if node is not None and "-uuid" in arguments:
                return arguments[arguments.index("-uuid") + 1], node
        return None

    def _look_at(self, pid: int) -> None:
        (uuid, node), used = self._copies[pid], _processor_ns(pid)
        before = self._used.setdefault(pid, used)
        if used - before >= RUNS_NS:
            self._used[pid] = used
            self._note(uuid, "processors", Sign(time.monotonic(), f"process {pid} on {node}", node))

    def _read(self, log: Path) -> None:
        size, before = _size(log), self._logs[log]
        self._logs[log] = size
        if size <= before:
            return
        with contextlib.suppress(OSError), log.open("rb") as file:
            file.seek(before)
            whole = file.read(size - before).rpartition(b"\n")[0]
            self._logs[log] = before + len(whole)
            if _TICK.search(whole):
                node = next(name for name in self._lab.nodes if log.is_relative_to(self._lab.root_of(name)))
                self._note(log.stem, "counter", Sign(time.monotonic(), f"the console on {node}", node))

    # -- judging -------------------------------------------------------------------------------------------------------

    def _note(self, uuid: str, by: str, sign: Sign) -> None:
        self._last[uuid][sign.node] = sign.at_s
        if by == "processors":
            self._first[uuid].setdefault(sign.copy, sign)
        recent = self._recent[uuid, by]
        if recent and recent[-1].copy == sign.copy:
            recent[-1] = sign
            return
        recent.append(sign)
        turns = [one for one in recent if sign.at_s - one.at_s < ALTERNATE_S]
        if len(turns) >= 4 and turns[-1].copy == turns[-3].copy and turns[-2].copy == turns[-4].copy:
            self._tell(uuid, by, turns)

    def _tell(self, uuid: str, by: str, turns: list[Sign]) -> None:
        if uuid in self._doubled:
            return
        self._doubled.add(uuid)
        seen = ", ".join(f"{one.copy} at {one.at_s:.1f} s" for one in turns[-4:])
        self.found.append(f"guest {uuid} executed twice at once by its {by}: {seen}")


def _processor_ns(pid: int) -> int:
    """What its virtual processors' threads were given; libvirt has QEMU name them (debug-threads=on). The kernel's work
    when one ends is no guest's.
    """
    used = 0
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if (thread / "comm").read_text().startswith("CPU ") and not _is_ending(thread):
                    used += int((thread / "schedstat").read_text().split()[0])
    return used


def _is_ending(thread: Path) -> bool:
    """By its flags in proc(5), stat: PF_EXITING of linux/sched.h."""
    return bool(int((thread / "stat").read_text().rpartition(")")[2].split()[6]) & 0x4)


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0
