# SPDX-License-Identifier: LGPL-3.0-or-later
"""For storage drivers with the capability diffs: Ceph's "rbd diff" format, versions 1 and 2, written and read. Pure.

Source: Ceph's doc/dev/rbd-diff.rst. A head line, then records: f and t (names of the snapshots it leads from and to), s
(size), w (data), z (zeros), e (the end). All numbers are little-endian. In version 2 each record but e has its length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from pvc_core.errors import Refused

HEADS = {1: b"rbd diff v1\n", 2: b"rbd diff v2\n"}
_HEAD_BYTES = 12
_NAME_MAX = 4096
_TEXT, _NUMBER, _RANGE = "ft", "s", "wz"


def head(version: int, *, since: str, snapshot: str, size_bytes: int) -> bytes:
    """Everything before the data. `since` "" means from nothing."""
    parts = [HEADS[version]]
    for tag, name in ((b"f", since), (b"t", snapshot)):
        if name:
            body = struct.pack("<I", len(name.encode())) + name.encode()
            parts.append(tag + _length(version, len(body)) + body)
    return b"".join([*parts, b"s", _length(version, 8), struct.pack("<Q", size_bytes)])


def data_head(version: int, offset: int, count: int) -> bytes:
    """Stands before `count` bytes."""
    return b"w" + _length(version, 16 + count) + struct.pack("<QQ", offset, count)


def zeros(version: int, offset: int, count: int) -> bytes:
    return b"z" + _length(version, 16) + struct.pack("<QQ", offset, count)


END = b"e"


def _length(version: int, count: int) -> bytes:
    return struct.pack("<Q", count) if version == 2 else b""


@dataclass(frozen=True, slots=True)
class Data:
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Zeros:
    offset: int
    count: int


@dataclass
class Reader:
    """Fed with pieces of any length; answers with what is to be done. `since`, `snapshot` and `size_bytes` are known
    when the first of those comes. Raises Refused for what is no such stream, as soon as it shows.
    """

    version: int = 0
    since: str = ""
    snapshot: str = ""
    size_bytes: int = -1
    ended: bool = False
    _pending: bytearray = field(default_factory=bytearray)
    _offset: int = 0
    _left: int = 0

    def feed(self, piece: bytes) -> Iterator[Data | Zeros]:
        self._pending += piece
        while self._pending:
            if self.ended:
                raise _wrong("something follows its end")
            if self._left:
                yield self._some_data()
                continue
            found = self._record()
            if found is None:
                return
            if isinstance(found, Zeros):
                yield found

    def finish(self) -> None:
        """Nothing more comes. Raises Refused when the end was missing."""
        if not self.ended:
            raise Refused("the diff was cut off: its end is missing", help="send it again")

    def _some_data(self) -> Data:
        count = min(self._left, len(self._pending))
        found = Data(self._offset, bytes(self._pending[:count]))
        del self._pending[:count]
        self._offset += count
        self._left -= count
        return found

    def _record(self) -> Zeros | bool | None:
        """True: something was understood; None: more bytes are needed."""
        if not self.version:
            return self._head()
        tag = chr(self._pending[0])
        if tag == "e":
            self._demand(self.size_bytes >= 0, "it has no size")
            self.ended = True
            del self._pending[0]
            return True
        start = 9 if self.version == 2 else 1
        if tag in _TEXT:
            return self._name(tag, start)
        self._demand(tag in _NUMBER + _RANGE, f"it has a record {tag!r}")
        body = self._taken(start, 8 if tag == _NUMBER else 16)
        if body is None:
            return None
        if tag == _NUMBER:
            self._demand(self.size_bytes < 0, "it has two sizes")
            (self.size_bytes,) = struct.unpack("<Q", body)
            return True
        offset, count = struct.unpack("<QQ", body)
        self._demand(offset >= 0 and offset + count <= self.size_bytes, "it has data outside the volume")
        if tag == "z":
            return Zeros(offset, count)
        self._offset, self._left = offset, count
        return True

    def _head(self) -> bool | None:
        have = bytes(self._pending[:_HEAD_BYTES])
        self._demand(any(one.startswith(have) for one in HEADS.values()), "it does not begin with a diff's head")
        if len(have) < _HEAD_BYTES:
            return None
        self.version = next(number for number, one in HEADS.items() if one == have)
        del self._pending[:_HEAD_BYTES]
        return True

    def _name(self, tag: str, start: int) -> bool | None:
        if len(self._pending) < start + 4:
            return None
        (count,) = struct.unpack_from("<I", self._pending, start)
        self._demand(count <= _NAME_MAX, "the name of a snapshot is too long")
        body = self._taken(start, 4 + count)
        if body is None:
            return None
        self._demand(self.size_bytes < 0, "a name follows its size")
        name = body[4:].decode("utf-8", "replace")
        if tag == "f":
            self.since = name
        else:
            self.snapshot = name
        return True

    def _taken(self, start: int, count: int) -> bytes | None:
        if len(self._pending) < start + count:
            return None
        body = bytes(self._pending[start : start + count])
        del self._pending[: start + count]
        return body

    def _demand(self, true: bool, otherwise: str) -> None:
        if not true:
            raise _wrong(otherwise)


def _wrong(why: str) -> Refused:
    return Refused(f"this is no diff as `rbd export-diff` writes them: {why}", help="is it the right file, unpacked?")
