"""The wire: reading and writing ZooKeeper's records, opcodes and events. Meaning is requests.py's.

Protocol: ZooKeeper 3.8, zookeeper.jute and org.apache.zookeeper.ZooDefs. All numbers are
big-endian; a string or buffer is an int length (-1: none) and that many bytes; a packet is an int length and the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum

from pvc_core.store.codes import Code

PACKET_MAX_BYTES = 1_048_575
"""ZooKeeper's default for jute.maxbuffer."""

EVENT_XID = -1
PING_XID = -2
AUTH_XID = -4

_INT = struct.Struct(">i")
_LONG = struct.Struct(">q")
_REPLY = struct.Struct(">iqi")
_EVENT = struct.Struct(">iqiii")
_MULTI = struct.Struct(">iBi")
_STAT = struct.Struct(">qqqqiiiqiiq")
_SYNC_CONNECTED = 3

Acl = tuple[tuple[int, str, str], ...]
"""(permissions, scheme, id) of each grant."""


class Op(IntEnum):
    CLOSE = -11
    ERROR = -1
    CREATE = 1
    DELETE = 2
    EXISTS = 3
    GET_DATA = 4
    SET_DATA = 5
    GET_ACL = 6
    SET_ACL = 7
    GET_CHILDREN = 8
    SYNC = 9
    PING = 11
    GET_CHILDREN2 = 12
    CHECK = 13
    MULTI = 14
    CREATE2 = 15
    MULTI_READ = 22
    AUTH = 100
    ADD_WATCH = 106


class Event(IntEnum):
    CREATED = 1
    DELETED = 2
    CHANGED = 3
    CHILDREN = 4


class Declined(Exception):
    """A request is answered with an error code; it changed nothing."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.name)
        self.code = code


class Malformed(Exception):
    """The bytes are no request of this protocol; the connection is closed."""


class Reader:
    """Takes values off the front of a packet. Raises Malformed where the bytes end or lie."""

    def __init__(self, packet: bytes) -> None:
        self._packet = packet
        self._at = 0

    def number(self) -> int:
        return self._unpack(_INT)

    def long(self) -> int:
        return self._unpack(_LONG)

    def flag(self) -> bool:
        return self._bytes(1) != b"\0"

    def buffer(self) -> bytes | None:
        size = self.number()
        return None if size < 0 else self._bytes(size)

    def string(self) -> str:
        try:
            return (self.buffer() or b"").decode()
        except UnicodeDecodeError as error:
            raise Malformed("a string is not UTF-8") from error

    def acl(self) -> Acl:
        return tuple((self.number(), self.string(), self.string()) for _ in range(max(self.number(), 0)))

    def multi_header(self) -> tuple[int, bool]:
        kind, done, _ = self.number(), self.flag(), self.number()
        return kind, done

    def at_end(self) -> bool:
        return self._at >= len(self._packet)

    def _unpack(self, form: struct.Struct) -> int:
        try:
            (number,) = form.unpack_from(self._packet, self._at)
        except struct.error as error:
            raise Malformed("a packet ends too early") from error
        self._at += form.size
        return int(number)

    def _bytes(self, size: int) -> bytes:
        piece = self._packet[self._at : self._at + size]
        if len(piece) != size:
            raise Malformed("a packet ends too early")
        self._at += size
        return piece


def number(value: int) -> bytes:
    return _INT.pack(value)


def buffer(value: bytes | None) -> bytes:
    return _INT.pack(-1) if value is None else _INT.pack(len(value)) + value


def string(text: str) -> bytes:
    return buffer(text.encode())


def strings(texts: Sequence[str]) -> bytes:
    return _INT.pack(len(texts)) + b"".join(map(string, texts))


def acl(grants: Acl) -> bytes:
    return _INT.pack(len(grants)) + b"".join(
        _INT.pack(perms) + string(scheme) + string(id_) for perms, scheme, id_ in grants
    )


def stat(*fields: int) -> bytes:
    """czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeralOwner, dataLength, numChildren, pzxid."""
    return _STAT.pack(*fields)


def multi_header(kind: int, done: bool = False, err: int = 0) -> bytes:
    return _MULTI.pack(kind, done, err)


def frame(packet: bytes) -> bytes:
    return _INT.pack(len(packet)) + packet


def reply(xid: int, zxid: int, code: int, body: bytes = b"") -> bytes:
    return frame(_REPLY.pack(xid, zxid, code) + body)


def event(kind: Event, path: str) -> bytes:
    return frame(_EVENT.pack(EVENT_XID, -1, 0, kind, _SYNC_CONNECTED) + string(path))


def connected(timeout_ms: int, session_id: int, password: bytes) -> bytes:
    """The answer to a connect request; a timeout of 0 says that the session is no more."""
    return frame(_INT.pack(0) + _INT.pack(timeout_ms) + _LONG.pack(session_id) + buffer(password) + b"\0")
