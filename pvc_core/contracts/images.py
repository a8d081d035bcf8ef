# SPDX-License-Identifier: LGPL-3.0-or-later
"""Of use to storage drivers that take images in other formats than raw. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WHOLE_VMDK = ("monolithicSparse", "streamOptimized")


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
