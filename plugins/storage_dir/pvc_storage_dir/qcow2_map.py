"""Where in a qcow2 file the bytes of a guest lie, now or in an internal snapshot; so that an export needs no space.

Follows QEMU's docs/interop/qcow2.txt, as far as the files go that we make with qemu-img: no compression, no encryption,
no subclusters, no backing file. Anything else raises ValueError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pvc_storage_dir.qcow2 import is_qcow2

_OFFSET = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED = 1 << 62
_ZERO = 1
_UNDERSTOOD = 0b11
"""Incompatible features that do not matter to a reader: dirty refcounts, and the mark of corrupt ones."""


@dataclass(frozen=True, slots=True)
class Extent:
    """`length` bytes of content; they lie at `at` in the file, or are zeros where `at` is None."""

    length: int
    at: int | None


@dataclass(frozen=True, slots=True)
class _Table:
    """A first-level table, and the size of the disk it describes."""

    at: int
    entries: int
    size_bytes: int


def qcow2_extents(file: BinaryIO, snapshot_tag: str = "") -> Iterator[Extent]:
    """All of the content in order. Raises ValueError now if there is no such snapshot or the file is not ours."""
    head = file.read(104)
    if not is_qcow2(head):
        raise ValueError("it is not a qcow2 image")
    backing, _length, cluster_bits, size, encrypted, l1_entries, l1_at = struct.unpack_from(">QIIQIIQ", head, 8)
    features = struct.unpack_from(">Q", head, 72)[0] if head[7] >= 3 else 0
    if backing or encrypted or features & ~_UNDERSTOOD:
        raise ValueError("it uses features of qcow2 that PVC does not")
    table = _snapshot_table(file, head, snapshot_tag) if snapshot_tag else _Table(l1_at, l1_entries, size)
    return _extents(file, table, 1 << cluster_bits)


def _snapshot_table(file: BinaryIO, head: bytes, tag: str) -> _Table:
    count, position = struct.unpack_from(">IQ", head, 60)
    for _number in range(count):
        file.seek(position)
        fixed = file.read(40)
        l1_at, l1_entries, id_length, name_length = struct.unpack_from(">QIHH", fixed)
        extra_length = struct.unpack_from(">I", fixed, 36)[0]
        extra = file.read(extra_length)
        name = file.read(id_length + name_length)[id_length:].decode("utf-8", "replace")
        if name == tag:
            return _Table(l1_at, l1_entries, struct.unpack_from(">Q", extra, 8)[0])
        position += -(-(40 + extra_length + id_length + name_length) // 8) * 8
    raise ValueError("the snapshot is not in the file")


def _extents(file: BinaryIO, table: _Table, cluster_bytes: int) -> Iterator[Extent]:
    left = table.size_bytes
    for l2_at in _entries(file, table.at, table.entries):
        if left <= 0:
            return
        covered = min(left, cluster_bytes * (cluster_bytes // 8))
        if not l2_at & _OFFSET:
            yield Extent(covered, None)
        else:
            yield from _clusters(_entries(file, l2_at & _OFFSET, cluster_bytes // 8), covered, cluster_bytes)
        left -= covered
    if left > 0:
        yield Extent(left, None)


def _clusters(entries: tuple[int, ...], covered: int, cluster_bytes: int) -> Iterator[Extent]:
    for entry in entries:
        if covered <= 0:
            return
        if entry & _COMPRESSED:
            raise ValueError("it has compressed clusters")
        length, at = min(cluster_bytes, covered), entry & _OFFSET
        yield Extent(length, None if entry & _ZERO or not at else at)
        covered -= length


def _entries(file: BinaryIO, at: int, count: int) -> tuple[int, ...]:
    file.seek(at)
    data = file.read(8 * count)
    if len(data) != 8 * count:
        raise ValueError("a table of it is cut short")
    return struct.unpack(f">{count}Q", data)
