"""I have this IPv6 address now: an unsolicited neighbour advertisement (RFC 4861 4.4 and 7.2.6).

Whether somebody else has it is the kernel's duplicate address detection (RFC 4862), which tells in the address's flags.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address

from pvc_core.errors import Permanent

_ADVERTISEMENT, _OVERRIDE, _TARGET_MAC = 136, 0x20000000, 2
_ALL_NODES = "ff02::1"
_HOPS = 255  # RFC 4861: less than that came through a router and is dropped


def announce(device: str, mac: str, ip: IPv6Address) -> None:
    """Raises Permanent. The kernel fills in the checksum."""
    option = struct.pack("!BB", _TARGET_MAC, 1) + bytes.fromhex(mac.replace(":", ""))
    packet = struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, _OVERRIDE) + ip.packed + option
    try:
        index = socket.if_nametoindex(device)
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOPS)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sock.sendto(packet, (_ALL_NODES, 0, 0, index))
    except OSError as error:
        raise Permanent(f"cannot announce {ip} on {device}: {error.strerror}") from None
