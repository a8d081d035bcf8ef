"""A network device of this node taken down or up, by the plainest call there is (netdevice(7)): no fork, no library."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1  # linux/sockios.h, linux/if.h
_REQUEST = "=16sH14x"


def is_up(device: str) -> bool:
    """False also when there is no such device. Raises OSError."""
    with _kernel() as kernel:
        return bool((_flags(kernel, device) or 0) & _IFF_UP)


def set_up(device: str, up: bool) -> None:
    """As it is wanted already, or no such device: does nothing. Raises OSError."""
    with _kernel() as kernel:
        flags = _flags(kernel, device)
        if flags is None or bool(flags & _IFF_UP) == up:
            return
        fcntl.ioctl(kernel, _SIOCSIFFLAGS, struct.pack(_REQUEST, device.encode(), flags ^ _IFF_UP))


def _kernel() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


def _flags(kernel: socket.socket, device: str) -> int | None:
    try:
        answer = fcntl.ioctl(kernel, _SIOCGIFFLAGS, struct.pack(_REQUEST, device.encode(), 0))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    return int(struct.unpack_from("=H", answer, 16)[0])
