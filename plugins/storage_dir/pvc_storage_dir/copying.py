"""Bytes from file to file, and making them last: reflink where the file system can, else a copy that keeps holes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator

_FICLONE = 0x40049409
"""ioctl of linux/fs.h: share all blocks of another file (btrfs, XFS, bcachefs, NFS 4.2 servers on those)."""
_STEP_BYTES = 16 * 1024**2
_NO_REFLINK = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS, errno.EPERM)
Copied = Callable[[int, int], None]
"""copied(bytes so far, bytes in all): called after every step; may raise to stop the copy."""


def copy_file(source: str, target: str, copied: Copied) -> None:
    """`target`, which must not exist, becomes an independent copy of `source` on the same file system, and is on disk.

    Raises OSError; what was copied so far is then left for the caller to remove.
    """
    with open(source, "rb", buffering=0) as reader, open(target, "xb", buffering=0) as writer:
        os.fchmod(writer.fileno(), 0o600)
        if not _reflinked(reader.fileno(), writer.fileno()):
            _copy_data(reader.fileno(), writer.fileno(), copied)
        os.fsync(writer.fileno())


def used_bytes(path: str) -> int:
    """What a file, or a directory's files, take on disk. What vanishes meanwhile counts as nothing."""
    try:
        if not os.path.isdir(path) or os.path.islink(path):
            return os.lstat(path).st_blocks * 512
        return sum(used_bytes(os.path.join(path, name)) for name in os.listdir(path))
    except FileNotFoundError:
        return 0


def fsync_directory(path: str) -> None:
    """Names made, renamed or removed in `path` survive a loss of power."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_file(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_whole(path: str, content: bytes) -> None:
    """`path` holds `content`, and after any crash the old or the new, never a mixture."""
    temporary = f"{path}.new"
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    fsync_directory(os.path.dirname(path))


def _reflinked(reader: int, writer: int) -> bool:
    try:
        fcntl.ioctl(writer, _FICLONE, reader)
    except OSError as error:
        if error.errno not in _NO_REFLINK:
            raise
        return False
    return True


def _copy_data(reader: int, writer: int, copied: Copied) -> None:
    size = os.fstat(reader).st_size
    os.ftruncate(writer, size)
    for start, end in _data_ranges(reader, size):
        position = start
        while position < end:
            position += _copy_step(reader, writer, position, min(_STEP_BYTES, end - position))
            copied(position, size)
    copied(size, size)


def _data_ranges(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the file has data; the rest are holes that read as zeros."""
    position = 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, end
        position = end


def _copy_step(reader: int, writer: int, position: int, count: int) -> int:
    """Bytes copied, at least one."""
    with contextlib.suppress(OSError):
        done = os.copy_file_range(reader, writer, count, position, position)
        if done:
            return done
    # The kernel would not (another kind of file system, or an error that the plain way reports better).
    data = os.pread(reader, min(count, 1024**2), position)
    if not data:
        raise OSError(errno.EIO, "the source became shorter while it was copied")
    return os.pwrite(writer, data, position)
