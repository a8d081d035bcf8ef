"""TX checksum offload of a VLAN device: some NICs spoil the checksums of tagged frames that guests left to them."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct

SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x00000017
"""linux/ethtool.h: set TX hw csum enable (ethtool_value)."""


def checksums_here(device: str) -> None:
    """`device` of this namespace sends only finished checksums. One that cannot be told has none to spoil."""
    value = ctypes.create_string_buffer(struct.pack("II", ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP", device.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            fcntl.ioctl(asked, SIOCETHTOOL, request)
        except OSError:
            return
