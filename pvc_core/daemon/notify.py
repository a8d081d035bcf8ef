"""Telling the service manager how far we are. Protocol: sd_notify(3)."""

from __future__ import annotations

import socket
from collections.abc import Mapping


def notify(state: str, environ: Mapping[str, str]) -> None:
    """Send `state` ("READY=1") to the socket NOTIFY_SOCKET of `environ` names; does nothing when there is none."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
