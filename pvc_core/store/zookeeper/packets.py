"""The requests kazoo 2.11 lacks or answers too narrowly, and what our names are on the wire.

Protocol: ZooKeeper 3.8, zookeeper.jute and org.apache.zookeeper.MultiOperationRecord, MultiResponse, ZooDefs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from kazoo.protocol.serialization import (
    CheckVersion,
    Create2,
    Delete,
    GetChildren,
    GetData,
    SetData,
    int_struct,
    multiheader_struct,
    read_buffer,
    read_string,
    stat_struct,
    write_string,
)
from kazoo.protocol.serialization import Create as CreatePacket
from kazoo.protocol.states import ZnodeStat
from kazoo.security import ACL, OPEN_ACL_UNSAFE, Id, Permissions

from pvc_core.store.access import ANYONE, Grant
from pvc_core.store.base import Check, Create, Op, Put
from pvc_core.store.base import Delete as DeleteOp

PERSISTENT_RECURSIVE = 1
_EPHEMERAL_FLAG = 1
_PERMISSIONS = {
    "r": Permissions.READ,
    "w": Permissions.WRITE,
    "c": Permissions.CREATE,
    "d": Permissions.DELETE,
    "a": Permissions.ADMIN,
}


@dataclass(frozen=True, slots=True)
class Failed:
    """The error code of one operation within a multi."""

    code: int


@dataclass(frozen=True, slots=True)
class AddWatch:
    """A watch that stays and covers everything below `path`."""

    type: ClassVar[int] = 106
    path: str

    def serialize(self) -> bytes:
        packet: bytes = bytes(write_string(self.path)) + int_struct.pack(PERSISTENT_RECURSIVE)
        return packet

    @classmethod
    def deserialize(cls, buffer: bytes, offset: int) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Multi:
    """Writes and checks, all or nothing. The answer is one item per operation: ZnodeStat, None or Failed."""

    type: ClassVar[int] = 14
    operations: Sequence[Any]

    def serialize(self) -> bytes:
        parts: list[bytes] = []
        for operation in self.operations:
            parts += (multiheader_struct.pack(operation.type, False, -1), operation.serialize())
        parts.append(multiheader_struct.pack(-1, True, -1))
        return b"".join(parts)

    @classmethod
    def deserialize(cls, buffer: bytes, offset: int) -> list[Any]:
        answers: list[Any] = []
        while True:
            kind, done, _ = multiheader_struct.unpack_from(buffer, offset)
            offset += multiheader_struct.size
            if done:
                return answers
            answer, offset = _ANSWERS[kind](buffer, offset)
            answers.append(answer)


class MultiRead(Multi):
    """Reads in one packet, each with an answer of its own: (bytes, ZnodeStat), list of names, or Failed."""

    type: ClassVar[int] = 22


def create_packet(key: str, value: bytes, ephemeral: bool, acl: Sequence[ACL]) -> Create2:
    """Answered with the path and the ZnodeStat."""
    return Create2(key, value, acl, _EPHEMERAL_FLAG if ephemeral else 0)


def op_packet(op: Op, acl: Sequence[ACL]) -> Any:
    """The part of a Multi for `op`; `acl` is for a Create. `None` for a version is -1 on the wire; 0 is a version.

    Not create2: ZooKeeper 3.8.0 answers it inside a multi without the stat it promises.
    """
    match op:
        case Create():
            return CreatePacket(op.key, op.value, acl, _EPHEMERAL_FLAG if op.ephemeral else 0)
        case Put():
            return SetData(op.key, op.value, -1 if op.if_version is None else op.if_version)
        case DeleteOp():
            return Delete(op.key, -1 if op.if_version is None else op.if_version)
        case Check():
            return CheckVersion(op.key, op.version)


def acl_of(grants: Sequence[Grant]) -> list[ACL]:
    """Users are named by SASL, which an ensemble speaks and pvcstored grants to whom it knows by digest."""
    return [
        ACL(
            sum(_PERMISSIONS[letter] for letter in set(grant.rights)),
            Id("world", "anyone") if grant.user == ANYONE else Id("sasl", grant.user),
        )
        for grant in grants
    ]


OPEN_ACL: Sequence[ACL] = OPEN_ACL_UNSAFE


def _stat(buffer: bytes, offset: int) -> tuple[ZnodeStat, int]:
    return ZnodeStat._make(stat_struct.unpack_from(buffer, offset)), offset + stat_struct.size


def _created(buffer: bytes, offset: int) -> tuple[None, int]:
    return None, read_string(buffer, offset)[1]


def _data(buffer: bytes, offset: int) -> tuple[tuple[bytes, ZnodeStat], int]:
    value, offset = read_buffer(buffer, offset)
    stat, offset = _stat(buffer, offset)
    return (value or b"", stat), offset


def _names(buffer: bytes, offset: int) -> tuple[list[str], int]:
    (count,) = int_struct.unpack_from(buffer, offset)
    offset += int_struct.size
    names = []
    for _ in range(count):
        name, offset = read_string(buffer, offset)
        names.append(name)
    return names, offset


def _nothing(buffer: bytes, offset: int) -> tuple[None, int]:
    return None, offset


def _failed(buffer: bytes, offset: int) -> tuple[Failed, int]:
    return Failed(int_struct.unpack_from(buffer, offset)[0]), offset + int_struct.size


_ANSWERS = {
    CreatePacket.type: _created,
    SetData.type: _stat,
    Delete.type: _nothing,
    CheckVersion.type: _nothing,
    GetData.type: _data,
    GetChildren.type: _names,
    -1: _failed,
}
