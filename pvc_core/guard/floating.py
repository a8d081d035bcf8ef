"""Takes this node's floating addresses down when its lease has ended, also while pvcnoded is stopped (design rule 7).

What to take down and when stands in /run/pvc/floating.json (pvc_core/hostnet/held.py). Plain netlink, written out here:
when a machine is short of everything, neither a fork nor a large library may stand between the deadline and the act.
"""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import ip_interface
from pathlib import Path

from pvc_core.hostnet.held import HeldAddress, read_held

_RTM_DELADDR, _F_REQUEST_ACK = 21, 0x05  # linux/rtnetlink.h, linux/netlink.h
_IFA_ADDRESS, _IFA_LOCAL = 1, 2  # linux/if_addr.h
_ERROR = 2
_GONE = (19, 99)  # ENODEV, EADDRNOTAVAIL


def drop_overdue(run: Path, now_s: float, *, all: bool = False) -> list[str]:
    """Called every half second. Addresses that were taken down now, empty when there was nothing to do; `all`: whatever
    their lease says.

    Goes on with the others when one fails, then raises OSError; ValueError when the file holds something else.
    """
    held = read_held(run)
    if not all and not held.overdue(now_s):
        return []
    dropped, failed = [], None
    for address in held.addresses:
        try:
            if _drop(address):
                dropped.append(address.address)
        except OSError as error:
            failed = error
    if failed is not None:
        raise failed
    return dropped


def _drop(held: HeldAddress) -> bool:
    """False when it was not there. Raises OSError."""
    interface = ip_interface(held.address)
    try:
        index = socket.if_nametoindex(held.device)
    except OSError:
        return False
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    packed = interface.ip.packed
    attributes = b"".join(struct.pack("=HH", 4 + len(packed), kind) + packed for kind in (_IFA_LOCAL, _IFA_ADDRESS))
    body = struct.pack("=BBBBI", family, interface.network.prefixlen, 0, 0, index) + attributes
    header = struct.pack("=IHHII", 16 + len(body), _RTM_DELADDR, _F_REQUEST_ACK, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(0.5)
        kernel.send(header + body)
        answer = kernel.recv(4096)
    kind, code = struct.unpack_from("=H", answer, 4)[0], -struct.unpack_from("=i", answer, 16)[0]
    if kind != _ERROR or (code and code not in _GONE):
        raise OSError(code, f"cannot take {held.address} from {held.device}: {os.strerror(code)}")
    return code == 0
