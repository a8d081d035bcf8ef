"""One call at work: its deadline, and how what goes wrong in it is said, in the closed set of errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pvc_core.clock import Clock
from pvc_core.errors import Permanent, PvcError, Refused, Retry

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LATER = (
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EAGAIN,
    errno.EBUSY,
    errno.ENOTEMPTY,  # an orphan of a killed daemon still writes into what is being removed
    errno.ETXTBSY,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
)


class Job:
    """`doing` begins its sentences ('cloning volume "vms/a"'), `directory` is the pool's."""

    def __init__(
        self,
        doing: str,
        directory: str,
        clock: Clock,
        deadline_s: float,
        stopping: Callable[[], bool],
        *,
        asked_bytes: int = 0,
    ) -> None:
        self.doing = doing
        self.directory = directory
        self.asked_bytes = asked_bytes
        self._clock = clock
        self._end_s = clock.boottime_s() + deadline_s
        self._stopping = stopping

    def left_s(self) -> float:
        return self._end_s - self._clock.boottime_s()

    def check(self) -> None:
        """Raises Retry when the deadline has passed or the daemon is ending."""
        if self._stopping():
            raise Retry(f"{self.doing} was interrupted: the daemon is ending", help="it is begun again by itself")
        if self.left_s() <= 0:
            raise Retry(f"{self.doing} did not finish in time", help="it is begun again by itself")

    def out_of_space(self) -> Refused:
        """The one error for a full file system."""
        free = f"{readable(free_bytes(self.directory))} are free in {self.directory}"
        asked = f"{readable(self.asked_bytes)} were asked for, " if self.asked_bytes else ""
        return Refused(
            f"{self.doing} failed, there is not enough space: {asked}{free}",
            help="remove volumes or snapshots, or enlarge the file system",
        )

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """Whatever the kernel refuses inside leaves as one error of the closed set."""
        try:
            yield
        except PvcError:
            raise
        except OSError as error:
            raise self._translated(error) from error
        except ValueError as error:
            raise Permanent(f"{self.doing} failed: {error}") from error

    def _translated(self, error: OSError) -> PvcError:
        if error.errno in _FULL:
            return self.out_of_space()
        where = f" ({error.filename})" if error.filename else ""
        sentence = f"{self.doing} failed: {error.strerror or error}{where}"
        if error.errno in _LATER:
            return Retry(sentence)
        if error.errno == errno.EROFS:
            return Permanent(sentence, help=f"mount the file system of {self.directory} writable")
        return Permanent(sentence, help=f"look at {self.directory} and at the node's kernel log")


def readable(size_bytes: int) -> str:
    """12.3 GiB; for sentences only."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"


def free_bytes(directory: str) -> int:
    """What new data may still use."""
    stat = os.statvfs(directory)
    return stat.f_bavail * stat.f_frsize


def total_bytes(directory: str) -> int:
    stat = os.statvfs(directory)
    return stat.f_blocks * stat.f_frsize
