"""The guests of this node as the kernel shows them: processes that carry a UUID. Stopped, continued and killed by
process id, without libvirt, which may hang when it matters.

Which of them may be touched is freezer.py's and ending.py's. Processes of other PID namespaces are another node's.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

PROC = Path("/proc")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STATE, _START_TIME = 0, 19
"""Fields of /proc/PID/stat counted from behind the name in brackets, proc(5): 3 and 22."""


class Standing(Enum):
    GONE = "gone"
    """No thread of it is left; a zombie executes nothing and holds no file."""
    STOPPED = "stopped"
    RUNNING = "running"
    STUCK = "stuck"
    """Told to stop or to die, a thread of it waits in the kernel ("D"): it executes nothing of its own, but what it
    waits for may still reach a disk.
    """


@dataclass(frozen=True, slots=True)
class Guest:
    """One process. `started` (clock ticks since boot) tells it from a later one with the same number."""

    pid: int
    started: int
    uuid: str


class Processes:
    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._namespace = _namespace(proc / "self")

    def guests(self) -> list[Guest]:
        """Every process of this node that carries a guest's UUID. Raises OSError when /proc cannot be listed."""
        found = (self._guest(int(name)) for name in os.listdir(self._proc) if name.isdigit())
        return [guest for guest in found if guest is not None]

    def send(self, guest: Guest, number: signal.Signals) -> None:
        """Never to another process that was given the same number meanwhile. Gone already: does nothing.

        Raises OSError (not ours to signal).
        """
        try:
            handle = os.pidfd_open(guest.pid)
        except ProcessLookupError:
            return
        try:
            if self._guest(guest.pid) == guest:
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)

    def standing(self, guest: Guest) -> Standing:
        states = self._thread_states(guest)
        if not states - {"Z", "X", "x"}:
            return Standing.GONE
        if not states - {"Z", "X", "x", "T", "t"}:
            return Standing.STOPPED
        return Standing.STUCK if not states - {"Z", "X", "x", "T", "t", "D"} else Standing.RUNNING

    def taps(self, guest: Guest) -> list[str]:
        """The guest's network devices, by the files it has open: what it was started with and what came later."""
        found = set()
        for descriptor in self._descriptors(guest.pid):
            if name := self._device(guest.pid, descriptor):
                found.add(name)
        return sorted(found)

    def _guest(self, pid: int) -> Guest | None:
        uuid = _uuid_of(self._arguments(pid))
        stat = self._stat(self._proc / str(pid)) if uuid else []
        if not stat or _namespace(self._proc / str(pid)) != self._namespace:
            return None
        return Guest(pid, int(stat[_START_TIME]), uuid)

    def _thread_states(self, guest: Guest) -> set[str]:
        leader = self._stat(self._proc / str(guest.pid))
        if not leader or int(leader[_START_TIME]) != guest.started:
            return set()
        return {stat[_STATE] for task in self._tasks(guest.pid) if (stat := self._stat(task))}

    def _tasks(self, pid: int) -> Iterator[Path]:
        try:
            names = os.listdir(self._proc / str(pid) / "task")
        except (FileNotFoundError, ProcessLookupError):
            return iter(())
        return (self._proc / str(pid) / "task" / name for name in names)

    def _stat(self, task: Path) -> list[str]:
        """Behind the name in brackets, which may hold anything; empty when it is gone."""
        try:
            return (task / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return []

    def _arguments(self, pid: int) -> list[str]:
        try:
            return (self._proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            return []

    def _descriptors(self, pid: int) -> list[str]:
        try:
            return os.listdir(self._proc / str(pid) / "fd")
        except (FileNotFoundError, ProcessLookupError):
            return []

    def _device(self, pid: int, descriptor: str) -> str:
        """A tap says its name in fdinfo ("iff:"); a macvtap is /dev/tapN, N its interface's number."""
        try:
            target = os.readlink(self._proc / str(pid) / "fd" / descriptor)
            if target.startswith("/dev/tap") and target[8:].isdigit():
                return _interface(int(target[8:]))
            if target != "/dev/net/tun":
                return ""
            lines = (self._proc / str(pid) / "fdinfo" / descriptor).read_text().splitlines()
        except OSError:
            return ""  # closed meanwhile
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("iff:")), "")


def _uuid_of(arguments: list[str]) -> str:
    """libvirt's QEMUs carry -name and -uuid, whatever the program is called; "" for everything else."""
    program = os.path.basename(arguments[0]) if arguments else ""
    if "qemu" not in program and "kvm" not in program and "-name" not in arguments:
        return ""
    try:
        uuid = arguments[arguments.index("-uuid") + 1].lower()
    except (ValueError, IndexError):
        return ""
    return uuid if _UUID.fullmatch(uuid) else ""


def _namespace(process: Path) -> int:
    try:
        return os.stat(process / "ns" / "pid").st_ino
    except OSError:
        return 0


def _interface(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""
