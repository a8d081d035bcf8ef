"""Screens of this node's guests over the peer channel: what the guest's VNC server says, and what it is told.

Two questions, as each goes one way: `screen` connects and streams, `screen_write` gives bytes to that connection. What
the bytes mean is the business of the two ends.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from pvc_core.contracts.compute import ComputeDriver
from pvc_core.errors import NotFound, Retry
from pvc_core.peer import Answer, Handler

OPEN_MAX = 32
CONNECT_S = 5.0
TICK_S = 1.0
STALL_S = 20.0
"""QEMU reads what it is told at once; one that does not for so long hangs."""
PIECE_BYTES = 65536


class Screens:
    """The connections that are open, by a name only who opened it knows."""

    def __init__(self, compute: ComputeDriver) -> None:
        self._compute = compute
        self._lock = threading.Lock()
        self._open: dict[str, socket.socket] = {}

    def handlers(self) -> Mapping[str, Handler]:
        return {"screen": self.screen, "screen_write": self.screen_write}

    def screen(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """{session}, then what the VNC server of guest `uuid` says. Raises NotFound, Refused, Retry."""
        with self._lock:
            if len(self._open) >= OPEN_MAX:
                raise Retry(f"{OPEN_MAX} screens of this node are being looked at already", help="close one of them")
        connection = self._compute.open_screen(str(args["uuid"]), deadline_s=CONNECT_S)
        connection.settimeout(TICK_S)
        session = secrets.token_urlsafe(16)
        with self._lock:
            self._open[session] = connection
        return Answer({"session": session}, Said(self, session, connection))

    def screen_write(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        """The body goes to the VNC server of `session`. Raises NotFound when that was closed."""
        with self._lock:
            kept = self._open.get(str(args["session"]))
        if kept is None:
            raise NotFound("this screen was closed")
        with socket.socket(fileno=_duplicate(kept)) as connection:
            connection.settimeout(STALL_S)
            for data in body:
                try:
                    connection.sendall(data)
                except OSError as error:
                    raise NotFound(f"the guest's screen was closed: {error}") from None
        return Answer()

    def forget(self, session: str) -> None:
        with self._lock:
            connection = self._open.pop(session, None)
        if connection is not None:
            connection.close()


class Said:
    """What the server says; closed with the stream, however that ends."""

    def __init__(self, screens: Screens, session: str, connection: socket.socket) -> None:
        self._screens, self._session, self._connection = screens, session, connection

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                data = self._connection.recv(PIECE_BYTES)
            except TimeoutError:
                yield b""
                continue
            except OSError:
                return
            if not data:
                return
            yield data

    def close(self) -> None:
        self._screens.forget(self._session)


def _duplicate(connection: socket.socket) -> int:
    """A descriptor of its own: the one is closed while the other writes. Raises NotFound when it is closed already."""
    try:
        return connection.dup().detach()
    except OSError:
        raise NotFound("this screen was closed") from None
