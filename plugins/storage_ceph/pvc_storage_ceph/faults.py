"""What rados and rbd raise, in the closed set of errors and in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pvc_core.errors import Permanent, PvcError, Refused, Retry

_LATER = (errno.ETIMEDOUT, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOTCONN, errno.ECONNREFUSED, errno.EROFS)
_DENIED = (errno.EACCES, errno.EPERM)
SHUT_OUT = errno.ESHUTDOWN
"""EBLOCKLISTED of Ceph's src/include/rados.h."""


@contextmanager
def in_words(doing: str) -> Iterator[None]:
    """Whatever rados or rbd raise inside leaves as one error of the closed set."""
    from pvc_storage_ceph.bindings import load

    rados, rbd = load()
    try:
        yield
    except PvcError:
        raise
    except (rados.Error, rbd.Error, OSError) as error:
        raise translated(doing, error) from None
    except ValueError as error:
        raise Permanent(f"{doing} failed: {error}") from None


def translated(doing: str, error: BaseException) -> PvcError:
    number = abs(int(getattr(error, "errno", 0) or 0))
    said = os.strerror(number) if number else str(error)
    sentence = f"{doing} failed, Ceph says: {said} ({type(error).__name__})"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return no_room(doing)
    if number == SHUT_OUT:
        return Permanent(f"{doing} failed: this node is shut out of Ceph", help="see `ceph osd blocklist ls`")
    if number == errno.EMLINK:  # librbd's ImageMemberOfGroup
        return Permanent(
            f"{doing} failed: somebody made the image a member of a group",
            help="find it by `rbd group ls` and `rbd group image ls`, take it out by `rbd group image rm`, try again",
        )
    if number in _DENIED:
        return Permanent(f"{doing} failed: Ceph does not let us do it", help="look at the rights of our key")
    if number in _LATER:
        return Retry(sentence)
    return Permanent(sentence, help="look at `ceph status`")


def no_room(doing: str) -> Refused:
    return Refused(
        f"{doing} failed: the pool is full, Ceph has no room for it",
        help="remove volumes or snapshots, add OSDs, or raise the pool's quota if it has one",
    )


def readable(size_bytes: int) -> str:
    """12.3 GiB; for sentences only."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"
