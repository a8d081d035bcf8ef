"""A volume's content, or a snapshot's, as a stream of raw bytes. Holes are zeros without reading them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import BinaryIO

from pvc_storage_dir.faults import Job
from pvc_storage_dir.images import Images
from pvc_storage_dir.pooldir import PoolDir
from pvc_storage_dir.volumedir import Snap, VolumeDir

_CHUNK_BYTES = 1024**2
_ZEROS = bytes(_CHUNK_BYTES)


def read_image(pool: PoolDir, volume: VolumeDir, snap: Snap | None, images: Images, job: Job) -> Iterator[bytes]:
    """Opens now (errors come now), reads when asked."""
    if volume.format == "raw":
        return _chunks(open(volume.snap_path(snap.id) if snap else volume.disk, "rb"), job)  # closed by _chunks
    # qemu-img writes raw only into something it can seek in; the name goes at once, the bytes with the last reader.
    with pool.staging(volume.id) as staged:
        path = os.path.join(staged, "export")
        job.asked_bytes = os.path.getsize(volume.disk)
        images.convert(volume.disk, "qcow2", path, "raw", job, snapshot=snap.id if snap else "")
        return _chunks(open(path, "rb"), job)  # closed by _chunks


def _chunks(file: BinaryIO, job: Job) -> Iterator[bytes]:
    with file, job.in_words():
        size, position, data_at = os.fstat(file.fileno()).st_size, 0, 0
        while position < size:
            job.check()
            if data_at <= position:
                data_at = _next_data(file, position, size)
            step = min(_CHUNK_BYTES, size - position)
            if data_at >= position + step:
                yield _ZEROS[:step]
            else:
                file.seek(position)
                yield file.read(step)
            position += step


def _next_data(file: BinaryIO, position: int, size: int) -> int:
    try:
        return os.lseek(file.fileno(), position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size
        raise
