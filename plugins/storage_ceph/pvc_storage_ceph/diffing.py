"""What changed between two snapshots: read out as a stream, and applied to another copy of the volume.

A diff from nothing fills an image beside the volume, which then takes its place, like an upload. One that follows a
snapshot is written into the volume itself; meanwhile its record says that a rollback to that snapshot is unfinished, so
nobody can attach it, and whatever goes wrong ends with that rollback.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

from pvc_core.contracts import diffs
from pvc_core.contracts.diffs import Data, Reader, Zeros
from pvc_core.errors import Exists, NotFound, Refused
from pvc_core.model.storage import Snapshot, Volume
from pvc_storage_ceph import snapshots
from pvc_storage_ceph.images import staged_name, whole_sectors
from pvc_storage_ceph.records import Record, Snap
from pvc_storage_ceph.volumes import Volumes

_STEP_BYTES = 4 * 1024**2
_IN_FLIGHT = 16
_WINDOW_BYTES = 16 * 1024**3
"""Ceph is asked for changes in so much at a time: object by object, which takes a second or so."""


class DiffExport:
    """One at a time; close it."""

    def __init__(self, volumes: Volumes, volume: Volume, snapshot: str, since: str, version: int) -> None:
        record = volumes.usable(volume)
        self._opened = volumes.images.opened(record.name, read_only=True)
        self._image: Any = self._opened.__enter__()
        self._pieces = self._all(record, snapshot, since, version)

    def read(self) -> bytes | None:
        """The next bytes; none at the end; None when a part had no changes."""
        return next(self._pieces, b"")

    def close(self) -> None:
        self._pieces.close()
        self._opened.__exit__(None, None, None)

    def _all(self, record: Record, snapshot: str, since: str, version: int) -> Generator[bytes | None, None, None]:
        older = snapshots.real_name(record, self._image, since) if since else None
        if snapshot:
            self._image.set_snap(snapshots.real_name(record, self._image, snapshot))
        size = int(self._image.size())
        yield diffs.head(version, since=since, snapshot=snapshot, size_bytes=size)
        for window in range(0, size, _WINDOW_BYTES):
            yield from self._changed(window, min(_WINDOW_BYTES, size - window), older, version)
        yield diffs.END

    def _changed(self, begin: int, length: int, older: str | None, version: int) -> Iterator[bytes | None]:
        extents: list[tuple[int, int, bool]] = []
        self._image.diff_iterate(begin, length, older, lambda *extent: extents.append(extent))
        for offset, count, exists in extents:
            if not exists:
                yield diffs.zeros(version, offset, count)
                continue
            for start in range(offset, offset + count, _STEP_BYTES):
                step = min(_STEP_BYTES, offset + count - start)
                data = self._image.read(start, step)
                yield diffs.data_head(version, start, step) + data.ljust(step, b"\0")
        if not extents:
            yield None


class DiffStaging:
    """`snapshot` is what the volume's state gets at the end; `since` the one it must begin from, "" for nothing."""

    def __init__(self, volumes: Volumes, volume: Volume, snapshot: Snapshot, since: str) -> None:
        self._volumes, self._volume, self._snapshot, self._since = volumes, volume, snapshot, since
        self._reader, self._begun, self._made = Reader(), False, ""
        rewind(volumes, volume)
        record = volumes.usable(volume)
        if any(one.name == snapshot.name for one in record.snapshots):
            raise Exists(f'volume "{volume.ref}" has a snapshot "{snapshot.name}" already', help="choose another name")
        volumes.images.unused(record.name, f'a diff into volume "{volume.ref}"')
        self._name = self._fresh(record) if not since else self._prepared(record)
        self._opened = volumes.images.opened(self._name)
        self._image: Any = self._opened.__enter__()
        self._open = True
        self._flight = _Flight(self._image)

    def write(self, data: bytes) -> None:
        """Raises Refused."""
        for one in self._reader.feed(data):
            if not self._begun:
                self._begin()
            if isinstance(one, Data):
                self._flight.write(one.data, one.offset)
            elif isinstance(one, Zeros):
                self._flight.discard(one.offset, one.count)

    def finish(self) -> int:
        """Everything came and is in place: the volume's new size."""
        self._reader.finish()
        if not self._begun:
            self._begin()
        self._flight.finish()
        hidden = f".pvc-{self._snapshot.id}"
        self._image.create_snap(hidden)
        number = next(int(one["id"]) for one in self._image.list_snaps() if one["name"] == hidden)
        snap = Snap(id=self._snapshot.id, name=self._snapshot.name, number=number)
        size = int(self._image.size())
        record = self._volumes.need(self._volume)
        if self._made:
            new = replace(record, image=self._made, old=record.image, snapshots=(snap,))
        else:
            new = replace(record.with_snap(snap), rollback="")
        self._volumes.records.put(new)
        self.close()
        record = self._volumes.settle(new)
        with self._volumes.images.opened(record.name) as image:
            snapshots.name_follows(record, image, snap.id)
        self._volumes.purge(self._volume.id)
        return size

    def close(self) -> None:
        if self._open:
            self._open = False
            self._flight.finish(quietly=True)
            self._opened.__exit__(None, None, None)

    def _fresh(self, record: Record) -> str:
        if record.snapshots:
            raise Refused(
                f'volume "{self._volume.ref}" has snapshots, which a full diff would leave behind',
                help="name the snapshot it follows, or take a new volume",
            )
        self._volumes.has_no_clones(record, "filled by a diff")
        self._volumes.purge(self._volume.id)
        name = staged_name("up", self._volume.id)
        self._made = self._volumes.images.make(name, whole_sectors(self._volume.size_bytes))
        return name

    def _prepared(self, record: Record) -> str:
        """The volume is exactly as in the snapshot `since`, and from now on nobody can attach it."""
        snap = next((one for one in record.snapshots if one.name == self._since), None)
        if snap is None:
            raise NotFound(
                f'volume "{self._volume.ref}" has no snapshot "{self._since}", which the diff follows',
                help="apply the older diffs first",
            )
        with self._volumes.images.opened(record.name, read_only=True) as image:
            name = snapshots.real_name(record, image, self._since)
            with self._volumes.images.opened(record.name, read_only=True, snapshot=name) as then:
                if not _same(image, then, name):
                    raise Refused(
                        f'volume "{self._volume.ref}" was changed after its snapshot "{self._since}"',
                        help="roll it back to that snapshot first",
                    )
        self._volumes.records.put(replace(record, rollback=snap.id))
        return record.name

    def _begin(self) -> None:
        """The stream's own words about itself are all there."""
        if self._reader.since != self._since:
            said = f'follows snapshot "{self._reader.since}"' if self._reader.since else "begins from nothing"
            wanted = f'snapshot "{self._since}"' if self._since else "nothing"
            raise Refused(f"the diff {said}, but one that follows {wanted} was announced")
        size = whole_sectors(self._reader.size_bytes)
        self._volumes.fits_at_all(f'a diff into volume "{self._volume.ref}"', size)
        if self._image.size() != size:
            self._image.resize(size)
        self._begun = True


def _same(now: Any, then: Any, snapshot: str) -> bool:
    """What Ceph calls changed may have been written with the same bytes again, as a rollback does: it is compared."""
    if now.size() != then.size():
        return False
    touched: list[tuple[int, int]] = []
    now.diff_iterate(0, now.size(), snapshot, lambda offset, count, _exists: touched.append((offset, count)))
    for offset, count in touched:
        for start in range(offset, offset + count, _STEP_BYTES):
            step = min(_STEP_BYTES, offset + count - start)
            if now.read(start, step) != then.read(start, step):
                return False
    return True


def rewind(volumes: Volumes, volume: Volume) -> None:
    """What a diff that was cut off has left behind is gone again."""
    record = volumes.find(volume)
    if record is not None:
        if record.rollback:
            snapshots.finish_rollback(volumes, volume, record)
        volumes.purge(volume.id)


class _Flight:
    """Writes, several at once."""

    def __init__(self, image: Any) -> None:
        self._image, self._worst = image, 0
        self._slots = threading.Semaphore(_IN_FLIGHT)

    def write(self, data: bytes, offset: int) -> None:
        self._check()
        self._slots.acquire()
        self._image.aio_write(data, offset, self._done)

    def discard(self, offset: int, count: int) -> None:
        self._check()
        self._slots.acquire()
        self._image.aio_discard(offset, count, self._done)

    def finish(self, *, quietly: bool = False) -> None:
        for _slot in range(_IN_FLIGHT):
            self._slots.acquire()
        for _slot in range(_IN_FLIGHT):
            self._slots.release()
        if not quietly:
            self._check()

    def _done(self, completion: Any) -> None:
        self._worst = min(self._worst, int(completion.get_return_value()))
        self._slots.release()

    def _check(self) -> None:
        if self._worst < 0:
            raise OSError(-self._worst, "writing")
