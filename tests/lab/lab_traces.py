"""What a lab could leave on the machine, for the tests that compare before and after."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

MACHINES_OWN = (
    "/etc/libvirt",
    "/var/lib/libvirt",
    "/var/cache/libvirt",
    "/var/log/libvirt",
    "/run/libvirt",
    "/etc/pvc",
    "/var/lib/pvc",
    "/run/pvc",
)


OTHERS = re.compile(r" /run/netns[ /]")
"""Mounts of named namespaces are the tests' of networks, which may run at the same time; a lab's have no names."""


@dataclass(frozen=True)
class Machine:
    """The machine's own mounts, interfaces, addresses, routes, users and files. Compare two with ==."""

    mounts: str
    interfaces: tuple[str, ...]
    routes: str
    users: str
    files: tuple[tuple[str, float], ...]


def look() -> Machine:
    return Machine(
        mounts="\n".join(
            line for line in Path("/proc/self/mounts").read_text().splitlines() if not OTHERS.search(line)
        ),
        interfaces=tuple(sorted(os.listdir("/sys/class/net"))),
        routes=Path("/proc/net/route").read_text(),
        users=Path("/etc/passwd").read_text() + Path("/etc/group").read_text(),
        files=tuple(
            (str(path), path.lstat().st_mtime) for root in MACHINES_OWN for path in sorted(Path(root).rglob("*"))
        ),
    )


def processes_of(labs: Path) -> list[str]:
    """Return the command lines of all processes of the labs below directory `labs`: those that name it, and all in
    their PID namespaces.
    """
    ours = os.readlink("/proc/self/ns/pid")
    lines: dict[int, tuple[str, str]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            lines[int(entry.name)] = (command, os.readlink(entry / "ns/pid"))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    spaces = {space for command, space in lines.values() if str(labs) in command} - {ours}
    return [c for pid, (c, space) in lines.items() if pid != os.getpid() and c and (space in spaces or str(labs) in c)]
