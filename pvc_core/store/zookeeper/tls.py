"""TLS under kazoo's connection: whom to trust, and a select that knows what TLS has read already.

kazoo 2.11 has TLS of its own, but two answers in one record leave the second unseen in the buffer until something else
comes: its loop asks the kernel alone whether there is something to read.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pvc_core.errors import Permanent


def trust(authority: Path, shown: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """Takes only servers whose certificate `authority` signed, for the name or address they are asked at.

    `shown`: the certificate and key with which this client shows who it is. Raises Permanent when a file is missing or
    wrong.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(authority)
    except (OSError, ValueError) as error:
        raise Permanent(
            f"the authority of the store's servers cannot be read from {authority}: {error}",
            help="the first node makes it with `pvcnoded init`, the others get it with `pvcnoded join`",
        ) from None
    try:
        if shown is not None:
            context.load_cert_chain(*shown)
    except (OSError, ValueError) as error:
        raise Permanent(
            f"the store's servers want a certificate, and {shown[0]} cannot be used: {error}" if shown else "",
            help="`pvcnoded init` or `pvcnoded join` makes it; is it this user's?",
        ) from None
    return context


def secured(sock: socket.socket, context: ssl.SSLContext, host: str) -> socket.socket:
    """The handshake takes at most the socket's timeout. Raises OSError."""
    return context.wrap_socket(sock, server_hostname=host)


def select_with_pending(
    readers: Sequence[Any],
    writers: Sequence[Any],
    others: Sequence[Any],
    timeout: float | None,
    plain: Any = select.select,
) -> tuple[list[Any], list[Any], list[Any]]:
    """select(2), but at once when TLS holds bytes of one of the readers."""
    held = [sock for sock in readers if isinstance(sock, ssl.SSLSocket) and sock.pending()]
    if not held:
        found: tuple[list[Any], list[Any], list[Any]] = plain(readers, writers, others, timeout)
        return found
    ready, writable, odd = plain([sock for sock in readers if sock not in held], writers, others, 0)
    return held + ready, writable, odd
