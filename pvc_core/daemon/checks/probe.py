"""Whether packets of full size reach another node whole: an echo request (RFC 792, RFC 4443) that may not be
fragmented.

Needs root (raw sockets). The kernel of the other node answers by itself.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from ipaddress import ip_address

IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3
IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE, IPV6_DONTFRAG = 23, 3, 62
"""ip(7), ipv6(7): never fragment, whatever was learned of the path before."""
HEADERS = {4: 28, 6: 48}
SMALL_BYTES = 64
TRIES, WAIT_S = 3, 0.7


def reach(own: str, other: str, mtu: int) -> str:
    """ "" when packets of `mtu` bytes go from address `own` to `other` and back; else what goes wrong, in words."""
    if why := _echo(own, other, mtu):
        if _echo(own, other, SMALL_BYTES + HEADERS[ip_address(own).version]):
            return "no packet arrives"
        return f"packets of {mtu} bytes do not arrive, small ones do" if why == "lost" else why
    return ""


def _echo(own: str, other: str, size: int) -> str:
    """ "lost" when nothing came back. Raises nothing."""
    six = ip_address(own).version == 6
    kind = socket.getprotobyname("ipv6-icmp" if six else "icmp")
    payload = max(0, size - HEADERS[6 if six else 4])
    try:
        with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, kind) as line:
            if six:
                line.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE)
                line.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, 1)
            else:
                line.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
            line.bind((own, 0))
            for number in range(TRIES):
                if _answered(line, other, number, payload, six=six):
                    return ""
    except PermissionError:
        return "cannot be found out: pvcnoded may not send echo requests"
    except OSError as error:
        return f"this node itself cannot send packets of {size} bytes: {error.strerror}"
    return "lost"


def _answered(line: socket.socket, other: str, number: int, payload: int, *, six: bool) -> bool:
    mark = os.urandom(8)
    data = (mark + bytes(payload))[:payload] if payload >= len(mark) else mark
    ident = struct.unpack(">H", mark[:2])[0]
    line.sendto(_request(ident, number, data, six=six), (other, 0))
    until_s = time.monotonic() + WAIT_S
    ready = select.poll()
    ready.register(line, select.POLLIN)
    while (left_s := until_s - time.monotonic()) > 0:
        if not ready.poll(left_s * 1000):
            return False
        packet, _ = line.recvfrom(70_000)
        body = packet if six else packet[(packet[0] & 15) * 4 :]
        if body[:1] == (b"\x81" if six else b"\x00") and body[8:16] == mark and len(body) == 8 + len(data):
            return True
    return False


def _request(ident: int, number: int, data: bytes, *, six: bool) -> bytes:
    """The kernel fills in ICMPv6's checksum, not ICMP's."""
    kind = 128 if six else 8
    head = struct.pack(">BBHHH", kind, 0, 0, ident, number)
    if six:
        return head + data
    return struct.pack(">BBHHH", kind, 0, checksum(head + data), ident, number) + data


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
