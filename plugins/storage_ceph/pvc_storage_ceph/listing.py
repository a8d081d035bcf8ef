"""The list of a pool's volumes without opening one image: sizes and used space are asked of all of them at once.

Opening 500 images takes four seconds; asking the class "rbd" on their header objects, all questions in flight, 30 ms
(Ceph's src/cls/rbd/cls_rbd.cc: get_size, object_map_load).
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pvc_core.errors import Retry
from pvc_core.model.storage import VolumeFound
from pvc_storage_ceph.images import Images, is_staged
from pvc_storage_ceph.records import Record

_NO_SNAP = struct.pack("<Q", 2**64 - 2)
"""CEPH_NOSNAP: the image itself."""
_MOST_BYTES = 8 * 1024**2
"""An object map takes two bits per object: this is enough for 128 TiB."""
_LIMIT_S = 60.0
_ENOENT = -2
Answer = tuple[int, bytes]


def listed(images: Images, records: Iterable[Record]) -> list[VolumeFound]:
    """All volumes, PVC's and others'. Raises Retry rather than leave any out."""
    names = images.names()
    ours = {record.image: record for record in records if not record.gone and record.image in names}
    hidden = {record.old for record in records} | {record.image for record in records if record.gone}
    shown = [one for one in names if one in ours or not (one in hidden or is_staged(names[one]))]
    sizes = _asked(images.io, [f"rbd_header.{one}" for one in shown], "get_size", _NO_SNAP, 64)
    maps = _asked(images.io, [f"rbd_object_map.{one}" for one in shown], "object_map_load", b"", _MOST_BYTES)
    result = []
    for image, size, object_map in zip(shown, sizes, maps, strict=True):
        if size[0] == _ENOENT:
            continue  # removed meanwhile
        if size[0] < 0:
            raise Retry(f'the size of image "{names[image]}" could not be asked (error {-size[0]})')
        order, size_bytes = struct.unpack_from("<BQ", size[1])
        used = _objects(object_map[1]) << order if object_map[0] >= 0 else 0
        result.append(_found(ours.get(image), names[image], size_bytes, min(used, size_bytes)))
    return result


def _found(record: Record | None, name: str, size_bytes: int, used_bytes: int) -> VolumeFound:
    snapshots = tuple(one.name for one in record.snapshots) if record else ()
    return VolumeFound(
        name=record.name if record else name,
        size_bytes=size_bytes,
        used_bytes=used_bytes,
        format="raw",
        id=record.id if record else "",
        snapshots=snapshots,
    )


def _asked(io: Any, objects: Sequence[str], method: str, data: bytes, most_bytes: int) -> list[Answer]:
    """Each object's (code, bytes), all questions in flight together."""
    answers: dict[int, Answer] = {}
    all_there = threading.Event()

    def keeper(number: int) -> Callable[[Any, bytes], None]:
        def keep(completion: Any, out: bytes) -> None:
            answers[number] = (int(completion.get_return_value()), bytes(out or b""))
            if len(answers) == len(objects):
                all_there.set()

        return keep

    kept = [
        io.aio_execute(name, "rbd", method, data, most_bytes, oncomplete=keeper(number))
        for number, name in enumerate(objects)
    ]
    if objects and not all_there.wait(_LIMIT_S):
        raise Retry(f"Ceph answered for {len(answers)} of {len(kept)} images only")
    return [answers[number] for number in range(len(objects))]


def _objects(object_map: bytes) -> int:
    """How many objects exist: two bits each, 0 means none. Layout: BitVector in Ceph's src/common/bit_vector.hpp."""
    if len(object_map) < 4:
        return 0
    head = struct.unpack_from("<I", object_map)[0]
    count = struct.unpack_from("<Q", object_map, 4 + head - 8)[0]
    bits = object_map[4 + head : 4 + head + -(-count // 4)]
    return sum(bits.translate(_PER_BYTE))


_PER_BYTE = bytes(sum(bool(byte >> shift & 3) for shift in (0, 2, 4, 6)) for byte in range(256))
