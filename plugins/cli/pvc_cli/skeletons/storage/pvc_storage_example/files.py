"""What storage_example does with single files: uploads, exports, its record, and errors in words instead of numbers."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from pvc_core.contracts import Upload
from pvc_core.errors import Exists, Invalid, Permanent, Refused
from pvc_core.ids import checked_name
from pvc_core.model.storage import VolumeFound

_CHUNK = 1024**2


class RawUpload(Upload):
    """Staged beside the volume, put in its place by one rename."""

    def __init__(self, disk: Path, announced: int | None) -> None:
        self._disk, self._staged = disk, disk.with_suffix(".new")
        self._limit = disk.stat().st_size if announced is None else announced
        self._announced, self._received, self._over = announced, 0, False
        if self._limit > disk.stat().st_size:
            raise Refused(f"the image has {self._limit} bytes, the volume {disk.stat().st_size}")
        self._staged.write_bytes(b"")

    def write(self, data: bytes) -> None:
        if self._over:
            raise Refused("this upload is over")
        self._received += len(data)
        try:
            if self._received > self._limit:
                raise Refused(f"more than {self._limit} bytes were sent")
            with in_words(f"an upload of {self._limit} bytes", self._disk), open(self._staged, "ab") as file:
                file.write(data)
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            self.abort()
            raise

    def commit(self, progress: Any) -> None:
        if self._over:
            raise Refused("this upload is over")
        try:
            if self._announced not in (None, self._received):
                raise Refused(f"only {self._received} of {self._announced} bytes arrived")
            with in_words("finishing an upload", self._disk), open(self._staged, "r+b") as file:
                file.truncate(self._disk.stat().st_size)
                os.fsync(file.fileno())
                os.replace(self._staged, self._disk)
            progress(1, 1, "the image is in place")
        finally:
            self.abort()

    def abort(self) -> None:
        self._over = True
        self._staged.unlink(missing_ok=True)


def chunks(disk: Path) -> Iterator[bytes]:
    with open(disk, "rb") as file:
        while data := file.read(_CHUNK):
            yield data


def foreign(path: Path) -> VolumeFound:
    stat = path.stat()
    return VolumeFound(name=path.name, size_bytes=stat.st_size, used_bytes=stat.st_blocks * 512, format="raw")


def write_memo(path: Path, memo: Mapping[str, Mapping[str, str]]) -> None:
    """memo.json is the old or the new, never half of one."""
    with open(path / "memo.json.new", "w", encoding="utf-8") as file:
        json.dump(memo, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path / "memo.json.new", path / "memo.json")


def names(memo: Mapping[str, Mapping[str, str]]) -> set[str]:
    return {entry["name"] for entry in memo.values()}


def is_free(memo: Mapping[str, Mapping[str, str]], name: str) -> None:
    if safe(name) in names(memo):
        raise Exists(f'there is another volume "{name}"', help="choose another name")


def safe(name: str) -> str:
    """PVC has checked names and ids already; a path made of one must never lead elsewhere all the same."""
    try:
        return checked_name(name, "volume")
    except Invalid as error:
        raise Refused(error.message, help=error.help) from None


def fits(path: Path, size_bytes: int) -> None:
    stat = os.statvfs(path)
    total = stat.f_blocks * stat.f_frsize
    if not 0 < size_bytes <= total:
        raise Refused(f"{size_bytes} bytes were asked for; {path} has {total}")


def cannot(what: str) -> NoReturn:
    raise Refused(f"storage_example cannot {what}")


@contextmanager
def in_words(doing: str, path: Path) -> Iterator[None]:
    """Only the errors of pvc_core.errors may leave a driver."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            free = os.statvfs(path.parent).f_bavail * os.statvfs(path.parent).f_frsize
            raise Refused(f"{doing} failed, there is not enough space: {free} bytes are free") from error
        raise Permanent(f"{doing} failed: {error}") from error
