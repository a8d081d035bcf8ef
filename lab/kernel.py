"""The three system calls of Linux that Python 3.11 has no function for: mount, unshare and setns. See their manual
pages in section 2.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError naming the target."""
    words = [word.encode() or None for word in (source, target, kind)]
    if _libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None):
        raise OSError(ctypes.get_errno(), f"cannot mount {source or kind} on {target}")


def detach(target: str) -> None:
    """umount2(2) with MNT_DETACH: `target` and all below it are gone from this namespace. Raises OSError."""
    if _libc.umount2(target.encode(), 2):
        raise OSError(ctypes.get_errno(), f"cannot unmount {target}")


def unshare(flags: int) -> None:
    """unshare(2): move this process (for CLONE_NEWPID: its next children) into new namespaces. Raises OSError."""
    if _libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "cannot make new namespaces")


def enter_network_of(pid: int) -> None:
    """setns(2) into the network namespace of `pid`. Sockets that are open already stay where they were. Raises
    OSError.
    """
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        if _libc.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace of process {pid}")
    finally:
        os.close(fd)
