"""Resets this machine at once, without asking anybody: the last resort of a guard whose guests cannot be ended."""

from __future__ import annotations

import os
from pathlib import Path

_TRIGGER = Path("/proc/sysrq-trigger")
_MACHINES_OWN = 0xEFFFFFFC
"""The inode of the kernel's first PID namespace (linux/proc_ns.h, PROC_PID_INIT_INO)."""


def reset_machine() -> None:
    """As SysRq-b does (Documentation/admin-guide/sysrq.rst): nothing is synced, nothing unmounted.

    Never in a container: it shares the kernel with others. Raises OSError.
    """
    if os.stat("/proc/self/ns/pid").st_ino != _MACHINES_OWN:
        raise PermissionError(1, "this is not the machine's own PID namespace: it would reset others too")
    _TRIGGER.write_text("b")
