"""What ZooKeeper's error codes mean to a caller of the primitives.

Protocol: org.apache.zookeeper.KeeperException.Code, ZooKeeper 3.8.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NoReturn

from pvc_core.errors import Conflict, Exists, NotFound, PvcError, Refused, StoreUnavailable
from pvc_core.store.base import Check, Create, Delete, Op, Put


class Code(IntEnum):
    """The codes that mean something to us, or that pvcstored answers."""

    OK = 0
    SYSTEM_ERROR = -1
    RUNTIME_INCONSISTENCY = -2
    MARSHALLING_ERROR = -5
    UNIMPLEMENTED = -6
    BAD_ARGUMENTS = -8
    NO_NODE = -101
    NO_AUTH = -102
    BAD_VERSION = -103
    NO_CHILDREN_FOR_EPHEMERALS = -108
    NODE_EXISTS = -110
    NOT_EMPTY = -111
    SESSION_EXPIRED = -112
    INVALID_ACL = -114
    AUTH_FAILED = -115
    NOT_READ_ONLY = -119
    THROTTLED = -127


WRITES = frozenset({1, 2, 5, 14, 15})
"""Opcodes after which "no answer" may mean "done": create, delete, setData, multi, create2."""

_NOT_DONE = frozenset({Code.SYSTEM_ERROR, Code.SESSION_EXPIRED, Code.THROTTLED, Code.NOT_READ_ONLY})
"""Answers that say for sure that nothing happened. pvcstored answers SYSTEM_ERROR when its disk is full."""


def error_for(code: int, verb: str, key: str, *, user: str | None) -> PvcError:
    """The error a caller gets when the server answered `code` to `verb` on `key`."""
    match code:
        case Code.NO_NODE:
            return NotFound(f"cannot {verb} {key}: there is no such key")
        case Code.NODE_EXISTS:
            return Exists(f"cannot create {key}: it exists")
        case Code.BAD_VERSION:
            return Conflict(f"cannot {verb} {key}: it was changed meanwhile", help="read it again and decide again")
        case Code.NOT_EMPTY:
            return Refused(f"cannot delete {key}: there are keys below it", help="delete those first")
        case Code.NO_CHILDREN_FOR_EPHEMERALS:
            return Refused(f"cannot create {key}: the key above it is ephemeral and can have none below it")
        case Code.NO_AUTH:
            return Refused(f"cannot {verb} {key}: the store does not allow it to {_who(user)}")
    return StoreUnavailable(
        f"cannot {verb} {key}: {_trouble(code)}", maybe_written=code not in _NOT_DONE and verb not in ("read", "list")
    )


def raise_commit_failure(op: Op, code: int) -> NoReturn:
    """A commit failed at `op`; nothing of it happened. Raises Conflict, Refused or StoreUnavailable."""
    match op, code:
        case Create(), Code.NODE_EXISTS:
            raise Conflict(f"cannot commit: {op.key} was to be created and exists")
        case Create(), Code.NO_NODE:
            raise Conflict(f"cannot commit: the key above {op.key} is missing")
        case ((Put() | Delete() | Check()), Code.NO_NODE):
            raise Conflict(f"cannot commit: {op.key} does not exist")
        case ((Put() | Delete() | Check()), Code.BAD_VERSION):
            raise Conflict(f"cannot commit: {op.key} was changed meanwhile", help="read it again and decide again")
    raise error_for(code, "commit", op.key, user=None)


def _who(user: str | None) -> str:
    return f"user {user!r}" if user else "this client"


def _trouble(code: int) -> str:
    if code == Code.SYSTEM_ERROR:
        return "the store could not write it to its disk, nothing was changed"
    if code == Code.NOT_READ_ONLY:
        return "the store is sealed: its content was moved to ZooKeeper, which pvc.yaml is to name"
    if code == Code.SESSION_EXPIRED:
        return "the session was over, nothing was changed"
    return f"the store answered with error {code}"
