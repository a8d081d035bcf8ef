"""What the first bytes of an image say, read without opening it as one: cheap for lists, and safe with hostile files.

Field offsets: QEMU's docs/interop/qcow2.txt and qed_spec.txt, VMware's "Virtual Disk Format 5.0" (SparseExtentHeader).
"""

from __future__ import annotations

import struct

_QCOW2 = b"QFI\xfb"
_QED = b"QED\0"
_VMDK = b"KDMV"
_DATA_FILE = 1 << 2
_QED_BACKING = 1 << 0


def known_format(value: str) -> str:
    """`value`, if it is a volume's format; raises ValueError."""
    if value not in ("raw", "qcow2"):
        raise ValueError(f"format {value!r}")
    return value


def virtual_size(path: str) -> int:
    """Bytes a guest sees in a qcow2 file; right also while a hypervisor has it open. Raises ValueError."""
    head = read_head(path)
    if not is_qcow2(head):
        raise ValueError(f"{path} is not a qcow2 image")
    return int(struct.unpack_from(">Q", head, 24)[0])


def is_qcow2(head: bytes) -> bool:
    return head[:4] == _QCOW2 and len(head) >= 80


def read_head(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(1024)


def outside_of(head: bytes, image_format: str) -> str:
    """Why an image with these first bytes would make QEMU open other files, "" if it would not.

    Asked before QEMU sees the image: QEMU opens what it names, and an uploaded image may name any file of the node.
    """
    if image_format == "qcow2":
        return _outside_qcow2(head)
    if image_format == "qed":
        return _outside_qed(head)
    if image_format == "vmdk":
        return _outside_vmdk(head)
    return ""


def _outside_qcow2(head: bytes) -> str:
    if not is_qcow2(head):
        return "it is not a qcow2 image"
    version, backing = struct.unpack_from(">IQ", head, 4)
    if backing:
        return "it has a backing file"
    if version >= 3 and struct.unpack_from(">Q", head, 72)[0] & _DATA_FILE:
        return "its data are in another file"
    return ""


def _outside_qed(head: bytes) -> str:
    if head[:4] != _QED or len(head) < 64:
        return "it is not a qed image"
    if struct.unpack_from("<Q", head, 16)[0] & _QED_BACKING:
        return "it has a backing file"
    return ""


def _outside_vmdk(head: bytes) -> str:
    """A text descriptor, or a sparse header without capacity, names extents in other files."""
    if head[:4] != _VMDK or len(head) < 512:
        return "it is not a single sparse vmdk (monolithicSparse or streamOptimized)"
    if struct.unpack_from("<Q", head, 12)[0] == 0:
        return "its extents are in other files"
    return ""
