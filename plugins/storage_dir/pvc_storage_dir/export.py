"""A volume's content, or a snapshot's, as a stream of raw bytes. Holes become zeros without being read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import BinaryIO

from pvc_storage_dir.faults import Job
from pvc_storage_dir.images import tag_of
from pvc_storage_dir.qcow2_map import Extent, qcow2_extents
from pvc_storage_dir.volumedir import Snap, VolumeDir

_CHUNK_BYTES = 1024**2
_ZEROS = bytes(_CHUNK_BYTES)


def read_image(volume: VolumeDir, snap: Snap | None, job: Job) -> Iterator[bytes]:
    """Opens now (errors come now), reads when asked."""
    if volume.format == "qcow2":
        file = open(volume.disk, "rb")  # noqa: SIM115  # closed by _chunks
        return _chunks(file, qcow2_extents(file, tag_of(snap.id) if snap else ""), job)
    file = open(volume.snap_path(snap.id) if snap else volume.disk, "rb")  # noqa: SIM115  # closed by _chunks
    return _chunks(file, _raw_extents(file), job)


def _chunks(file: BinaryIO, extents: Iterator[Extent], job: Job) -> Iterator[bytes]:
    with file, job.in_words():
        for extent in extents:
            for start in range(0, extent.length, _CHUNK_BYTES):
                job.check()
                yield _read(file, extent, start, min(_CHUNK_BYTES, extent.length - start))


def _read(file: BinaryIO, extent: Extent, start: int, length: int) -> bytes:
    if extent.at is None:
        return _ZEROS[:length]
    # Behind the end of the file is what was allocated and never written: zeros.
    return os.pread(file.fileno(), length, extent.at + start).ljust(length, b"\0")


def _raw_extents(file: BinaryIO) -> Iterator[Extent]:
    fd, position = file.fileno(), 0
    size = os.fstat(fd).st_size
    while position < size:
        try:
            data = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            data = size
        if data > position:
            yield Extent(data - position, None)
        if data < size:
            hole = min(os.lseek(fd, data, os.SEEK_HOLE), size)
            yield Extent(hole - data, data)
            data = hole
        position = data
