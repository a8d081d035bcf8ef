"""The walls of one node, put up from inside by its first process: what it sees of the machine, and what it may change.

Its own /etc (a copy), /var, /run, /tmp, /root, /dev/pts and /dev/shm, /proc and /sys of its own namespaces. The rest
of the machine is there
read-only, so that nothing a node does can touch it; only the repository stays writable (Python keeps its byte code
there).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab import kernel

FRESH = {"/run": "mode=755", "/tmp": "mode=1777", "/root": "mode=700", "/dev/shm": "mode=1777"}


def put_up(own: Mapping[str, Path], visible: Sequence[Path]) -> None:
    """Mount the directories `own` names (target -> source), hide the machine's, keep `visible` in sight for all users.

    Must run as the first process of new mount, PID, network and UTS namespaces. Raises OSError.
    """
    kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    sources = {target: _hold(source) for target, source in own.items()}
    kept = {str(path): _hold(path) for path in visible}
    covered = [*FRESH, *sources]
    for target, data in FRESH.items():
        kernel.mount("tmpfs", target, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, data)
    # parents before what lies in them: /var before /var/lib/pvc/volumes
    for target in sorted(sources):
        Path(target).mkdir(parents=True, exist_ok=True)
        kernel.mount(sources[target], target, flags=kernel.MS_BIND)
    for path, source in kept.items():
        _keep_in_sight(path, source, covered)
    _own_kernel_views()


def seal() -> None:
    """Make the rest of the machine read-only. Nobody in the namespace may hold a file of it open for writing. Raises
    OSError.
    """
    kernel.mount("", "/", flags=kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY)


def _hold(path: Path) -> str:
    """Return a name by which `path` can be mounted even after something else was mounted over it."""
    return f"/proc/self/fd/{os.open(path, os.O_PATH | os.O_DIRECTORY)}"


def _keep_in_sight(path: str, source: str, covered: Sequence[str]) -> None:
    """Mount `source` back at `path` where that was covered, or lies behind a directory that other users may not
    enter.
    """
    parents = [str(parent) for parent in reversed(Path(path).parents)][1:]
    for parent in parents:
        if parent in covered:
            break  # what lies below is made anew
        if not Path(parent).stat().st_mode & 0o001:
            kernel.mount("tmpfs", parent, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755")
            break
    if "/root" in parents:
        Path("/root").chmod(0o711)
    Path(path).mkdir(parents=True, exist_ok=True)
    kernel.mount(source, path, flags=kernel.MS_BIND | kernel.MS_REC)


def _own_kernel_views() -> None:
    quiet = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    # /sys of the network namespace, where libvirt looks up bridges; without the machine's control groups, which
    # are not the node's
    kernel.detach("/sys")
    kernel.mount("sysfs", "/sys", "sysfs", quiet)
    kernel.mount(
        "devpts", "/dev/pts", "devpts", kernel.MS_NOSUID | kernel.MS_NOEXEC, "newinstance,mode=620,ptmxmode=666"
    )
    if not os.path.islink("/dev/ptmx"):
        kernel.mount("/dev/pts/ptmx", "/dev/ptmx", flags=kernel.MS_BIND)
    kernel.mount("proc", "/proc", "proc", quiet)  # last: until here /proc/self/fd is needed
