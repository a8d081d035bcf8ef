# SPDX-License-Identifier: LGPL-3.0-or-later
"""Diffs of the fake storage driver (storage.py): written from two contents, and applied to a third."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pvc_core.contracts import diffs
from pvc_core.contracts.actions import Progress
from pvc_core.contracts.diffs import Data, Reader
from pvc_core.contracts.storage import Upload
from pvc_core.errors import Refused

BLOCK = 4096


def written(old: bytes, new: bytes, *, since: str, snapshot: str, version: int) -> Iterator[bytes]:
    """What turns `old` into `new`, block by block."""
    yield diffs.head(version, since=since, snapshot=snapshot, size_bytes=len(new))
    for start in range(0, len(new), BLOCK):
        before, after = old[start : start + BLOCK], new[start : start + BLOCK]
        if before.ljust(len(after), b"\0") == after:
            continue
        if any(after):
            yield diffs.data_head(version, start, len(after)) + after
        else:
            yield diffs.zeros(version, start, len(after))
    yield diffs.END


class FakeDiff(Upload):
    """`done` is called once with the whole new content."""

    def __init__(
        self, old: bytes, since: str, done: Callable[[bytes], None], forget: Callable[[FakeDiff], None]
    ) -> None:
        self._content, self._since, self._done, self._forget = bytearray(old), since, done, forget
        self._reader, self._over = Reader(), False

    def write(self, data: bytes) -> None:
        self._demand_open()
        try:
            for one in self._reader.feed(data):
                new = one.data if isinstance(one, Data) else bytes(one.count)
                self._sized()
                self._content[one.offset : one.offset + len(new)] = new
        except Refused:
            self.abort()
            raise

    def commit(self, progress: Progress) -> None:
        self._demand_open()
        try:
            self._reader.finish()
            self._sized()
            self._done(bytes(self._content))
        finally:
            self.abort()
        progress(1, 1, "the diff is applied")

    def abort(self) -> None:
        self._over = True
        self._forget(self)

    def _sized(self) -> None:
        if self._reader.since != self._since:
            raise Refused(f"the diff follows {self._reader.since!r}, not {self._since!r}")
        size = self._reader.size_bytes
        del self._content[size:]
        self._content.extend(bytes(size - len(self._content)))

    def _demand_open(self) -> None:
        if self._over:
            raise Refused("this diff is over")
