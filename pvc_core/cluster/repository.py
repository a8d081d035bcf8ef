"""Typed reads and writes of records. Which record may follow which is decided by services and reconcilers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pvc_core.cluster.layout import Kind
from pvc_core.errors import Conflict, Exists, NotFound
from pvc_core.model.view import Kept
from pvc_core.schema.records import LEVEL, decode, encode
from pvc_core.store.base import Check, Create, Delete, Entry, Op, Put, Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Add:
    """Create the record `id`; the commit fails with Conflict if it is there."""

    kind: Kind[Any]
    id: str
    record: object


@dataclass(frozen=True, slots=True)
class Set:
    kind: Kind[Any]
    id: str
    record: object
    if_version: int


@dataclass(frozen=True, slots=True)
class Drop:
    kind: Kind[Any]
    id: str
    if_version: int | None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The commit happens only if this record still has the version that was read."""

    kind: Kind[Any]
    id: str
    version: int


Write = Add | Set | Drop | Unchanged


class Repository:
    """Records instead of bytes; errors as in the store, and Refused when not every node understands a record.

    `level` is the cluster's (schema/records.py).
    """

    def __init__(self, store: Store, *, level: Callable[[], int] = lambda: LEVEL) -> None:
        self.store = store
        self._level = level

    def get(self, kind: Kind[T], id: str) -> Kept[T]:
        return _kept(kind, self.store.get(kind.key(id)))

    def find(self, kind: Kind[T], id: str) -> Kept[T] | None:
        try:
            return self.get(kind, id)
        except NotFound:
            return None

    def all(self, kind: Kind[T]) -> dict[str, Kept[T]]:
        entries = self.store.tree(kind.prefix)
        return {key.rpartition("/")[2]: _kept(kind, entry) for key, entry in entries.items() if key != kind.prefix}

    def add(self, kind: Kind[T], id: str, record: T, *, deadline_s: float | None = None) -> Kept[T]:
        """Raises Exists."""
        try:
            return _kept(kind, self.store.create(kind.key(id), self._encode(record), deadline_s=deadline_s))
        except Exists:
            raise Exists(f"{kind.name} {id} exists already") from None

    def set(
        self, kind: Kind[T], id: str, record: T, *, if_version: int | None, deadline_s: float | None = None
    ) -> Kept[T]:
        """Raises Conflict when someone wrote before, NotFound."""
        entry = self.store.put(kind.key(id), self._encode(record), if_version=if_version, deadline_s=deadline_s)
        return _kept(kind, entry)

    def drop(self, kind: Kind[Any], id: str, *, if_version: int | None) -> None:
        self.store.delete(kind.key(id), if_version=if_version)

    def save(self, kind: Kind[T], id: str, record: T, kept: Kept[T] | None) -> Kept[T]:
        """Write over `kept`, or for the first time when it is None. Raises Conflict in either case when someone was
        first.
        """
        if kept is not None:
            return self.set(kind, id, record, if_version=kept.version)
        try:
            return self.add(kind, id, record)
        except Exists as error:
            raise Conflict(error.message) from None

    def commit(self, writes: Sequence[Write]) -> None:
        """All or nothing. Raises Conflict naming the record that was not as expected."""
        self.store.commit(self.ops(writes))

    def ops(self, writes: Sequence[Write]) -> list[Op]:
        """The same in the store's words. Raises Refused as `commit` does."""
        return [_op(write, self._level()) for write in writes]

    def _encode(self, record: object) -> bytes:
        return encode(record, level=self._level())


def _kept(kind: Kind[T], entry: Entry) -> Kept[T]:
    return Kept(decode(entry.value, kind.record), entry.version, entry.stamp)


def _op(write: Write, level: int) -> Op:
    key = write.kind.key(write.id)
    match write:
        case Add():
            return Create(key, encode(write.record, level=level))
        case Set():
            return Put(key, encode(write.record, level=level), write.if_version)
        case Drop():
            return Delete(key, write.if_version)
        case Unchanged():
            return Check(key, write.version)
