"""An image on its way into a volume: staged in the pool, checked, converted if need be, put in place by one rename."""

from __future__ import annotations

import os
from typing import BinaryIO

from pvc_core.contracts.actions import Progress
from pvc_core.contracts.storage import Upload
from pvc_core.errors import Refused
from pvc_core.model.storage import Volume
from pvc_storage_dir.copying import fsync_directory, fsync_file
from pvc_storage_dir.faults import Job, readable
from pvc_storage_dir.images import Images, fits
from pvc_storage_dir.pooldir import PoolDir, remove_tree
from pvc_storage_dir.volumedir import VolumeDir

_ZEROS = bytes(64 * 1024)


class DirUpload(Upload):
    """Anything that goes wrong forgets the upload; the volume keeps the content it had."""

    def __init__(
        self, pool: PoolDir, volume: Volume, images: Images, image_format: str, announced: int | None, job: Job
    ) -> None:
        found = pool.get(volume)
        if found.format == "qcow2" and found.snapshots:
            raise Refused(
                f'volume "{volume.ref}" has snapshots inside its qcow2 file, which an upload would replace',
                help="remove its snapshots first",
            )
        self._volume_bytes = found.size_bytes()
        if image_format == "raw" and announced is not None:
            fits(volume.ref, announced, self._volume_bytes)
        self._pool, self._volume, self._images, self._format = pool, volume, images, image_format
        self._announced, self._job = announced, job
        self._received = 0
        self._staged = pool.stage(volume.id)
        self._path = os.path.join(self._staged, "image")
        self._file: BinaryIO | None = open(self._path, "xb", buffering=0)  # noqa: SIM115  # closed by commit or abort
        os.fchmod(self._file.fileno(), 0o600)

    def write(self, data: bytes) -> None:
        if self._file is None:
            raise Refused(f'the upload into "{self._volume.ref}" is over')
        try:
            self._accept(data)
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            self.abort()
            raise

    def commit(self, progress: Progress) -> None:
        if self._file is None:
            raise Refused(f'the upload into "{self._volume.ref}" is over')
        try:
            self._finish(progress)
        finally:
            self.abort()

    def abort(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        with self._job.in_words():
            if os.path.isdir(self._staged):
                remove_tree(self._staged)

    def _accept(self, data: bytes) -> None:
        assert self._file is not None
        total = self._received + len(data)
        if self._announced is not None and total > self._announced:
            raise Refused(f"more was sent than the {self._announced} bytes that were announced")
        if self._format == "raw":
            fits(self._volume.ref, total, self._volume_bytes)
        with self._job.in_words():
            self._write_sparse(data)
        self._received = total

    def _write_sparse(self, data: bytes) -> None:
        """Zeros become holes: an image is mostly zeros."""
        assert self._file is not None
        view, offset = memoryview(data), self._received
        while view:
            piece = view[: len(_ZEROS) - offset % len(_ZEROS)]
            view = view[len(piece) :]
            start, offset = offset, offset + len(piece)
            if bytes(piece) == _ZEROS[: len(piece)]:
                continue
            while piece:
                written = os.pwrite(self._file.fileno(), piece, start)
                piece, start = piece[written:], start + written
        os.ftruncate(self._file.fileno(), offset)

    def _finish(self, progress: Progress) -> None:
        assert self._file is not None
        if self._announced is not None and self._received != self._announced:
            raise Refused(
                f"only {readable(self._received)} of {readable(self._announced)} arrived", help="upload the image again"
            )
        found = self._pool.open().get(self._volume)
        with self._job.in_words():
            ready = self._in_form(found, progress)
            fsync_file(ready)
            os.replace(ready, found.disk)
            fsync_directory(found.path)
        progress(1, 1, "the image is in place")

    def _in_form(self, found: VolumeDir, progress: Progress) -> str:
        """The path of a file of the volume's format and size with the image's content."""
        assert self._file is not None
        if self._format == "raw":
            self._images.refuse_disguised(self._path)
            if found.format == "raw":
                os.ftruncate(self._file.fileno(), found.size_bytes())
                return self._path
        else:
            size = self._images.checked_size(self._path, self._format, self._job)
            fits(self._volume.ref, size, found.size_bytes())
        progress(0, 1, f"converting {self._format} to {found.format}")
        target = os.path.join(self._staged, "disk")
        self._images.convert(self._path, self._format, target, found.format, self._job)
        self._images.resize(target, found.format, found.size_bytes(), self._job)
        return target
