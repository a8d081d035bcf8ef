"""Who has this IPv4 address, and: I have it now. ARP on one bridge after RFC 5227 (probes, announcements) and RFC 826.

Probes are three within a fifth of a second, not the RFC's several seconds: a floating address has to answer within one.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from pvc_core.errors import Permanent

PROBES, PROBE_WAIT_S = 3, 0.07

_ETH_P_ARP = 0x0806
_REQUEST, _REPLY = 1, 2
_BROADCAST, _NOBODY = b"\xff" * 6, b"\x00" * 6
_HEAD = struct.pack("!HHBB", 1, 0x0800, 6, 4)  # Ethernet, IPv4, their lengths
_LENGTH = 28


@dataclass(frozen=True, slots=True)
class Place:
    """An address on a device of this host. `mac` is the device's."""

    device: str
    mac: str
    ip: IPv4Address

    @property
    def mac_bytes(self) -> bytes:
        return bytes.fromhex(self.mac.replace(":", ""))


def owners(places: Sequence[Place]) -> dict[Place, str]:
    """MAC addresses of other machines that have one of `places`, all asked at once; 0.2 s. Raises Permanent."""
    sockets = {place: _open(place.device) for place in places}
    found: dict[Place, str] = {}
    try:
        for _ in range(PROBES):
            for place, sock in sockets.items():
                _send(sock, place, _REQUEST, sender=IPv4Address(0), target_mac=_NOBODY)
            _listen(sockets, found, time.monotonic() + PROBE_WAIT_S)
    finally:
        for sock in sockets.values():
            sock.close()
    return found


def announce(place: Place) -> None:
    """Tell every neighbour where the address is now: as a request and as a reply, because some heed only one of them.

    Raises Permanent.
    """
    with _open(place.device) as sock:
        _send(sock, place, _REQUEST, sender=place.ip, target_mac=_NOBODY)
        _send(sock, place, _REPLY, sender=place.ip, target_mac=_BROADCAST)


def _open(device: str) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ARP))
        sock.bind((device, _ETH_P_ARP))
    except OSError as error:
        raise Permanent(f"cannot speak ARP on {device}: {error.strerror}") from None
    return sock


def _send(sock: socket.socket, place: Place, operation: int, *, sender: IPv4Address, target_mac: bytes) -> None:
    packet = _HEAD + struct.pack("!H", operation) + place.mac_bytes + sender.packed + target_mac + place.ip.packed
    try:
        sock.sendto(packet, (place.device, _ETH_P_ARP, 0, 0, _BROADCAST))
    except OSError as error:
        raise Permanent(f"cannot speak ARP on {place.device}: {error.strerror}") from None


def _listen(sockets: dict[Place, socket.socket], found: dict[Place, str], until_s: float) -> None:
    with selectors.DefaultSelector() as ready:
        for place, sock in sockets.items():
            ready.register(sock, selectors.EVENT_READ, place)
        while (left_s := until_s - time.monotonic()) > 0:
            for key, _ in ready.select(left_s):
                mac = _claims(sockets[key.data].recv(256), key.data)
                if mac:
                    found[key.data] = mac


def _claims(packet: bytes, place: Place) -> str:
    """The MAC of another machine that has the address, or is about to (RFC 5227 2.1.1); "" if it tells neither."""
    if len(packet) < _LENGTH or packet[:6] != _HEAD:
        return ""
    mac, sender, target = packet[8:14], IPv4Address(packet[14:18]), IPv4Address(packet[24:28])
    probes_too = int.from_bytes(packet[6:8], "big") == _REQUEST and sender == IPv4Address(0) and target == place.ip
    if mac == place.mac_bytes or not (sender == place.ip or probes_too):
        return ""
    return mac.hex(":")
