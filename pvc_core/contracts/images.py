# SPDX-License-Identifier: LGPL-3.0-or-later
"""Of use to storage drivers that take images in other formats than raw. Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

_WHOLE_VMDK = ("monolithicSparse", "streamOptimized")
_CHECKED, _NOT_CHECKED, _CORRUPT, _ONLY_LEAKS, _NO_CHECKS = 0, 1, 2, 3, 63
_QCOW2 = b"QFI\xfb"
_MAGIC = {"vmdk": b"KDMV", "qed": b"QED\0", "vpc": b"conectix"}
_VDI_SIGNATURE = b"\x7f\x10\xda\xbe"


def image_fault(info: Mapping[str, Any], image_format: str) -> str:
    """Why a stranger's image must not be taken as `image_format`, in words; "" if it is whole and stands alone.

    `info`: what `qemu-img info --output=json -f IMAGE_FORMAT` printed of it.
    """
    specific = info.get("format-specific", {}).get("data", {})
    if info.get("format") != image_format:
        return f"it is {info.get('format')}"
    if info.get("backing-filename") or info.get("full-backing-filename"):
        return "it has a backing file"
    if specific.get("data-file") or specific.get("data-file-raw"):
        return "its data are in another file"
    if specific.get("create-type", _WHOLE_VMDK[0]) not in _WHOLE_VMDK:
        return f"it is a {specific['create-type']} vmdk, of which only a part was sent"
    if len(specific.get("extents", [])) > 1:
        return "its extents are in other files"
    if info.get("encrypted"):
        return "it is encrypted"
    return "it is marked corrupt" if specific.get("corrupt") else ""


def format_of(head: bytes) -> str:
    """Which format an image has whose first bytes are these, "raw" when they are no other's: to tell a slip, never to
    choose how an image is read (a guest writes what it likes into its raw disk).
    """
    if head[:4] == _QCOW2 and len(head) >= 80:
        return "qcow2"
    if _is_vdi(head):
        return "vdi"
    return next((name for name, magic in _MAGIC.items() if head.startswith(magic)), "raw")


def raw_fault(head: bytes) -> tuple[str, str]:
    """(why an image that is said to be raw is none, what helps), "" twice if it may be: most likely a slip, and its
    guest would not boot.
    """
    found = format_of(head)
    if found == "raw":
        return "", ""
    return f"the image was announced as raw, but it is {found}", f"upload it with image_format={found}"


def check_argv(image_format: str, image: str) -> list[str]:
    """What finds out whether the image's tables name data that it does not have; `damage` reads its exit code.

    Its words are thrown away: there may be one line for each of millions of clusters.
    """
    check = ["qemu-img", "check", "--output=json", "-f", image_format, image]
    return ["sh", "-c", 'exec "$@" >/dev/null 2>&1', "sh", *check]


def damage(returncode: int, info: Mapping[str, Any]) -> str:
    """Why an image has lost some of its data, in words; "" if nothing shows. QEMU reads zeros behind a file's end, so
    one that was cut off on its way would be converted without a word.

    `returncode`: of check_argv (QEMU's docs/tools/qemu-img.rst); `info` as for image_fault. One that was not closed
    well (dirty) has wrong counts and all of its data.
    """
    if returncode in (_CHECKED, _ONLY_LEAKS, _NO_CHECKS) or (returncode == _CORRUPT and info.get("dirty-flag")):
        return ""
    if returncode in (_NOT_CHECKED, _CORRUPT):
        return "it is cut off or damaged, `qemu-img check` tells where"
    return "looking at it took too long or too much memory"


def cut_off(head: bytes, size_bytes: int) -> str:
    """The same of a vdi, which QEMU does not check for that. `head`: its first 512 bytes at least; `size_bytes`: of
    the image as it came.
    """
    return "it is cut off" if _is_vdi(head) and size_bytes < _vdi_least_bytes(head) else ""


def _is_vdi(head: bytes) -> bool:
    return head[0x40:0x44] == _VDI_SIGNATURE and len(head) >= 0x188


def _vdi_least_bytes(head: bytes) -> int:
    """Behind the beginning of its last block. Layout: VdiHeader in QEMU's block/vdi.c."""
    (data_offset,) = struct.unpack_from("<I", head, 0x158)
    block_bytes, _extra, _blocks, allocated = struct.unpack_from("<IIII", head, 0x178)
    return int(data_offset + (allocated - 1) * block_bytes + 1) if allocated else 0
