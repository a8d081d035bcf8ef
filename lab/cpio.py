"""Writes an initramfs archive (cpio, format `newc`), as Linux reads it: Documentation/driver-api/early-
userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from pathlib import PurePosixPath
from typing import Protocol


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


class CpioWriter:
    """Entries belong to root and carry no times: the same input gives the same bytes."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._inode = 0
        self._directories: set[str] = set()

    def file(self, path: str, data: bytes, mode: int, *, link: bool = False) -> None:
        """Add a file (or, with `link`, a symbolic link to the path in `data`), and the directories it needs."""
        for parent in reversed(PurePosixPath(path).parents):
            if str(parent) not in {".", *self._directories}:
                self._directories.add(str(parent))
                self._entry(str(parent), b"", stat.S_IFDIR | 0o755)
        self._entry(path, data, (stat.S_IFLNK if link else stat.S_IFREG) | mode)

    def close(self) -> None:
        self._entry("TRAILER!!!", b"", 0)

    def _entry(self, path: str, data: bytes, mode: int) -> None:
        self._inode += 1
        name = path.encode() + b"\0"
        # inode, mode, uid, gid, links, mtime, size, device (major, minor), special device (major, minor),
        # name size, check
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        self._out.write(_padded(header + name) + _padded(data))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
