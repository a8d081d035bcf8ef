"""Which processes of this node carry a guest's UUID, and how one is killed without libvirt.

A guest is only off when none does: libvirt may have lost the file that tells it of a running QEMU, and would then
start a second one. Looks at /proc only; processes of other PID namespaces (containers, labs) are not this node's.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Processes:
    """`pid_namespace` is the inode of the PID namespace that counts as this node; our own unless told otherwise."""

    def __init__(self, *, proc: str = "/proc", pid_namespace: int | None = None) -> None:
        self._proc = Path(proc)
        self._namespace = pid_namespace if pid_namespace is not None else os.stat("/proc/self/ns/pid").st_ino

    def all(self) -> dict[str, tuple[int, ...]]:
        """UUID -> the processes that carry it."""
        found: dict[str, tuple[int, ...]] = {}
        for entry in os.listdir(self._proc):
            if not entry.isdigit():
                continue
            uuid = self._uuid_of(int(entry))
            if uuid:
                found[uuid] = (*found.get(uuid, ()), int(entry))
        return found

    def of(self, uuid: str) -> tuple[int, ...]:
        """A guest that moves stands still meanwhile: only what names the UUID at all is looked at closely."""
        named = uuid.lower().encode()
        pids = (int(entry) for entry in os.listdir(self._proc) if entry.isdigit())
        return tuple(pid for pid in pids if named in self._command_line(pid).lower() and self._uuid_of(pid) == uuid)

    def carries(self, pid: int, uuid: str) -> bool:
        """Whether process `pid` is (still) that guest's."""
        return pid > 0 and self._uuid_of(pid) == uuid

    def name_of(self, pid: int) -> str:
        """The guest's name on the command line ("-name guest=web1,..."); "" if there is none."""
        arguments = self._arguments(pid)
        value = _after(arguments, "-name")
        return value.split(",")[0].removeprefix("guest=")

    def kill(self, pid: int, uuid: str) -> None:
        """Kill `pid` if it carries `uuid`; never another process that was given the same number meanwhile."""
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if self.carries(pid, uuid):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)

    def _uuid_of(self, pid: int) -> str:
        arguments = self._arguments(pid)
        program = os.path.basename(arguments[0]) if arguments else ""
        if "qemu" not in program and "kvm" not in program and "-name" not in arguments:
            return ""  # a user's own emulator may be called anything, but libvirt always gives it -name
        uuid = _after(arguments, "-uuid").lower()
        return uuid if _UUID.fullmatch(uuid) and self._here(pid) else ""

    def _arguments(self, pid: int) -> list[str]:
        """Of a living process; a dead or dying one (zombie) has none."""
        raw = self._command_line(pid)
        return raw.decode(errors="replace").split("\0") if raw else []

    def _command_line(self, pid: int) -> bytes:
        try:
            with open(f"{self._proc}/{pid}/cmdline", "rb", buffering=0) as file:
                return file.read()
        except (FileNotFoundError, ProcessLookupError):
            return b""

    def _here(self, pid: int) -> bool:
        try:
            return os.stat(self._proc / str(pid) / "ns" / "pid").st_ino == self._namespace
        except (FileNotFoundError, ProcessLookupError):
            return False
        except PermissionError:
            return True  # whose it is cannot be told: then it counts


def _after(arguments: list[str], option: str) -> str:
    try:
        return arguments[arguments.index(option) + 1]
    except (ValueError, IndexError):
        return ""
