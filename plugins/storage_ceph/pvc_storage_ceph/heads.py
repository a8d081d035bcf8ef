"""What the first bytes of an image say: whether QEMU, opening it, would open other files too.

Field offsets: QEMU's docs/interop/qcow2.txt and qed_spec.txt, VMware's "Virtual Disk Format 5.0" (SparseExtentHeader).
"""

from __future__ import annotations

import struct

HEAD_BYTES = 1024
_DATA_FILE = 1 << 2
_QED_BACKING = 1 << 0


def is_qcow2(head: bytes) -> bool:
    return head.startswith(b"QFI\xfb") and len(head) >= 80


def outside_of(head: bytes, image_format: str) -> str:
    """Why QEMU must not see this image, "" if it may: it opens what an image names, any file of the node."""
    match image_format:
        case "qcow2":
            return _qcow2(head)
        case "qed":
            return _qed(head)
        case "vmdk":
            return _vmdk(head)
    return ""


def _qcow2(head: bytes) -> str:
    if not is_qcow2(head):
        return "it is not a qcow2 image"
    version, backing_offset = struct.unpack_from(">IQ", head, 4)
    if backing_offset:
        return "it has a backing file"
    incompatible = struct.unpack_from(">Q", head, 72)[0] if version >= 3 else 0
    return "its data are in another file" if incompatible & _DATA_FILE else ""


def _qed(head: bytes) -> str:
    if not head.startswith(b"QED\0") or len(head) < 64:
        return "it is not a qed image"
    return "it has a backing file" if struct.unpack_from("<Q", head, 16)[0] & _QED_BACKING else ""


def _vmdk(head: bytes) -> str:
    """A text descriptor, or a sparse header without capacity, names extents in other files."""
    if not head.startswith(b"KDMV") or len(head) < 512:
        return "it is not a single sparse vmdk (monolithicSparse or streamOptimized)"
    return "" if struct.unpack_from("<Q", head, 12)[0] else "its extents are in other files"
