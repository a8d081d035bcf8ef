"""What PVC knows of its volumes, kept in the pool itself: one object whose map holds a record per volume.

A record is the truth about a volume: which image it is (by Ceph's own id, which no rename changes), its name, its
snapshots. Steps that Ceph cannot do at once are done so: the record is written first, in one write, and says what shall
be; names of images follow (volumes.py), after a crash by the next call. Images whose name begins with "." are ours and
half-made or half-removed; images without a record were made by somebody else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

OBJECT = "pvc.volumes"
_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Snap:
    """`number` is Ceph's id of it."""

    id: str
    name: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """`old`: the image that an upload replaced, until it is removed. `rollback`: the snapshot of an unfinished one."""

    id: str
    name: str
    image: str
    snapshots: tuple[Snap, ...] = ()
    rollback: str = ""
    old: str = ""
    gone: bool = False

    def snap(self, snap_id: str) -> Snap | None:
        return next((one for one in self.snapshots if one.id == snap_id), None)

    def with_snap(self, snap: Snap) -> Record:
        return replace(self, snapshots=(*(one for one in self.snapshots if one.id != snap.id), snap))

    def without_snap(self, snap_id: str) -> Record:
        return replace(self, snapshots=tuple(one for one in self.snapshots if one.id != snap_id))


class Records:
    """Of one pool. Raises rados.Error."""

    def __init__(self, rados: Any, io: Any) -> None:
        self._rados, self._io = rados, io

    def get(self, volume_id: str) -> Record | None:
        with self._rados.ReadOpCtx() as operation:
            found, _code = self._io.get_omap_vals_by_keys(operation, (volume_id,))
            if not self._read(operation):
                return None
            return next((_loaded(value) for _key, value in found), None)

    def all(self) -> list[Record]:
        """Also those that are gone."""
        result: list[Record] = []
        after = ""
        while True:
            with self._rados.ReadOpCtx() as operation:
                found, _code = self._io.get_omap_vals(operation, after, "", _PAGE)
                page = [(key, value) for key, value in found] if self._read(operation) else []
            result += [_loaded(value) for _key, value in page]
            if len(page) < _PAGE:
                return result
            after = page[-1][0]

    def put(self, record: Record) -> Record:
        """Returns it."""
        value = json.dumps({"v": 1, **asdict(record)}, separators=(",", ":")).encode()
        with self._rados.WriteOpCtx() as operation:
            self._io.set_omap(operation, (record.id,), (value,))
            self._io.operate_write_op(operation, OBJECT)
        return record

    def forget(self, volume_id: str) -> None:
        with self._rados.WriteOpCtx() as operation:
            self._io.remove_omap_keys(operation, (volume_id,))
            self._io.operate_write_op(operation, OBJECT)

    def remove_all(self) -> None:
        """The object itself, with the last pool's volume."""
        try:
            self._io.remove_object(OBJECT)
        except self._rados.ObjectNotFound:
            return

    def _read(self, operation: Any) -> bool:
        try:
            self._io.operate_read_op(operation, OBJECT)
        except self._rados.ObjectNotFound:
            return False
        return True


def _loaded(value: bytes) -> Record:
    record = json.loads(value)
    record.pop("v")
    record["snapshots"] = tuple(Snap(**one) for one in record["snapshots"])
    return Record(**record)
