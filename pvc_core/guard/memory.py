"""Going on when the machine does not: pages locked, first in line for the processor, last to be killed for memory."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4  # sys/mman.h
_STACK_BYTES = 512 * 1024

_log = logging.getLogger(__name__)


def small_stacks() -> None:
    """Before any thread is started: the default of 8 MB each would be locked."""
    threading.stack_size(_STACK_BYTES)


def hold_on() -> None:
    """Each measure by itself; what the kernel refuses is told and goes without.

    Threads started later inherit it, those that run already (the log's) do not.
    """
    _lock_memory()
    _attempt("come first for the processor", lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)))
    _attempt("be spared when memory is short", lambda: Path("/proc/self/oom_score_adj").write_text("-1000"))


def _lock_memory() -> None:
    """What is there now is read in and stays; what comes later stays once it is used (not a whole stack a thread)."""
    libc = ctypes.CDLL(None, use_errno=True)
    for flags in (_MCL_CURRENT, _MCL_FUTURE | _MCL_ONFAULT):
        if libc.mlockall(flags):
            _refused("lock its memory", os.strerror(ctypes.get_errno()))
            return


def _attempt(what: str, act: Callable[[], object]) -> None:
    try:
        act()
    except OSError as error:
        _refused(what, error.strerror or str(error))


def _refused(what: str, why: str) -> None:
    _log.warning("pvcguard cannot %s: %s. A machine under pressure may delay its heartbeat", what, why)
