"""An upload as the child sees it: an image in the pool that is written as the bytes come, and then takes the place of
the volume's. No byte is kept on a node's disk.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from pvc_core.contracts.images import cut_off, raw_fault
from pvc_core.errors import Refused
from pvc_core.model.storage import Volume
from pvc_storage_ceph.faults import readable
from pvc_storage_ceph.heads import HEAD_BYTES, outside_of
from pvc_storage_ceph.images import staged_name, whole_sectors
from pvc_storage_ceph.volumes import Volumes

_OBJECT_BYTES = 4 * 1024**2
_IN_FLIGHT = 16
_GROW_BYTES = 4 * 1024**3


class Staging:
    """A raw image is written into what will be the volume; others into an image beside it, for qemu-img to read."""

    def __init__(self, volumes: Volumes, volume: Volume, image_format: str, announced: int | None) -> None:
        self._volumes, self._volume, self._format, self._announced = volumes, volume, image_format, announced
        record = volumes.usable(volume)
        if record.snapshots:
            raise Refused(
                f'volume "{volume.ref}" has snapshots, which an upload would leave behind', help="remove them first"
            )
        volumes.has_no_clones(record, "overwritten")
        self._size = volumes.found(record).size_bytes
        if image_format == "raw" and announced is not None:
            self._fits(announced)
        volumes.purge(volume.id)
        self._target = staged_name("up", volume.id)
        self._image_id = volumes.images.make(self._target, self._size)
        self._staged = self._target if image_format == "raw" else staged_name("stage", volume.id)
        if self._staged != self._target:
            volumes.images.make(self._staged, announced or _GROW_BYTES)
        self._opened = volumes.images.opened(self._staged)
        self._image: Any = self._opened.__enter__()
        self._open = True
        self._writer = _Writer(self._image)
        self._head = b""
        self._received = 0

    def write(self, data: bytes) -> None:
        """Raises Refused."""
        total = self._received + len(data)
        if self._announced is not None and total > self._announced:
            raise Refused(f"more was sent than the {self._announced} bytes that were announced")
        if self._format == "raw":
            self._fits(total)
        elif total > self._image.size():
            self._image.resize(total + _GROW_BYTES)
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        self._writer.write(data)
        self._received = total

    def whole(self) -> tuple[str, str, int]:
        """(image the bytes are in, image to fill, its size). Raises Refused: too little came, or it is not what it is
        said to be.
        """
        if self._announced is not None and self._received != self._announced:
            raise Refused(
                f"only {readable(self._received)} of {readable(self._announced)} arrived", help="upload the image again"
            )
        fault, help = raw_fault(self._head) if self._format == "raw" else ("", "")
        if fault:
            raise Refused(fault, help=help)
        outside = outside_of(self._head, self._format)
        if outside:
            raise Refused(
                f"the image cannot be taken as {self._format}: {outside}", help="flatten it with qemu-img convert"
            )
        cut = cut_off(self._head, self._received) if self._format == "vdi" else ""
        if cut:
            raise Refused(f"the image cannot be taken as vdi: {cut}", help="upload the whole image")
        self._writer.finish()
        if self._format != "raw":
            self._image.resize(whole_sectors(self._received))
        self.close()
        return self._staged, self._target, self._size

    def put_in_place(self) -> None:
        """One write of the record makes the new image the volume's; names follow."""
        volumes = self._volumes
        record = volumes.usable(self._volume)
        volumes.images.unused(record.name, f'the upload into volume "{self._volume.ref}"')
        volumes.settle(volumes.records.put(replace(record, image=self._image_id, old=record.image)))
        volumes.purge(self._volume.id)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._writer.finish(quietly=True)
            self._opened.__exit__(None, None, None)

    def _fits(self, image_bytes: int) -> None:
        if image_bytes > self._size:
            raise Refused(
                f'the image does not fit into volume "{self._volume.ref}": it has {readable(image_bytes)}, '
                f"the volume {readable(self._size)}",
                help="enlarge the volume first",
            )


class _Writer:
    """Whole objects at once, several in flight; those that are all zeros are not written."""

    def __init__(self, image: Any) -> None:
        self._image = image
        self._pending = bytearray()
        self._offset = 0
        self._slots = threading.Semaphore(_IN_FLIGHT)
        self._worst = 0

    def write(self, data: bytes) -> None:
        self._pending += data
        while len(self._pending) >= _OBJECT_BYTES:
            self._send(bytes(self._pending[:_OBJECT_BYTES]))
            del self._pending[:_OBJECT_BYTES]

    def finish(self, *, quietly: bool = False) -> None:
        """Everything is in Ceph. Raises OSError unless `quietly`."""
        if self._pending and not quietly:
            self._send(bytes(self._pending))
        self._pending.clear()
        for _slot in range(_IN_FLIGHT):
            self._slots.acquire()
        for _slot in range(_IN_FLIGHT):
            self._slots.release()
        self._check(quietly)

    def _send(self, data: bytes) -> None:
        offset, self._offset = self._offset, self._offset + len(data)
        if data.count(0) == len(data):
            return
        self._slots.acquire()
        self._check(False)
        self._image.aio_write(data, offset, self._done)

    def _done(self, completion: Any) -> None:
        self._worst = min(self._worst, int(completion.get_return_value()))
        self._slots.release()

    def _check(self, quietly: bool) -> None:
        if self._worst < 0 and not quietly:
            raise OSError(-self._worst, "writing")
