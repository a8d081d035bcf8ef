"""Frames on a connected stream socket: four bytes of length (big-endian), then that many bytes; length 0 ends a body.

Knows no transport (a socket is handed in) and no meaning (wire.py). Every wait has a limit.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

FRAME_MAX_BYTES = 1024 * 1024
"""Longest payload of one frame. Longer pieces of a body are split by the sender; a header must fit into one."""

_LENGTH = struct.Struct(">I")
_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR | select.POLLNVAL


class Gone(Exception):
    """The other side closed the connection, or made no progress in the time it was given."""


class Garbage(Exception):
    """What came is not of this protocol."""


class Stream:
    """Frames over `sock`, which it owns. One thread sends and receives; close() may come from any other."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, payload: bytes, wait_s: float | None) -> None:
        """One frame. Raises Gone (closed, or not taken within `wait_s`), Garbage (longer than a frame)."""
        if len(payload) > FRAME_MAX_BYTES:
            raise Garbage(f"{len(payload)} bytes do not fit into a frame of {FRAME_MAX_BYTES}")
        self._send_all(_LENGTH.pack(len(payload)) + payload, wait_s)

    def send_piece(self, piece: bytes, wait_s: float | None) -> None:
        """`piece` of a body in as many frames as it needs; nothing for b"", which would end the body."""
        view = memoryview(piece)
        for start in range(0, len(view), FRAME_MAX_BYTES):
            self.send(view[start : start + FRAME_MAX_BYTES].tobytes(), wait_s)

    def end_body(self, wait_s: float | None) -> None:
        self.send(b"", wait_s)

    def receive(self, wait_s: float | None) -> bytes:
        """The payload of one frame, all of it within `wait_s`. Raises Gone, Garbage."""
        until_s = None if wait_s is None else time.monotonic() + wait_s
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size, until_s))
        if length > FRAME_MAX_BYTES:
            raise Garbage(f"a frame of {length} bytes was announced, at most {FRAME_MAX_BYTES} are allowed")
        return self._exactly(length, until_s)

    def body(self, wait_s: float | None, *, tick_s: float | None = None) -> Iterator[bytes]:
        """Payloads until the frame that ends a body; `wait_s` is for each. Raises Gone when it ends without one.

        With `tick_s`, b"" each time nothing came for so long: the reader has something else to look after.
        """
        silent_s = 0.0
        while True:
            if tick_s is not None and not self._something_came(tick_s):
                silent_s += tick_s
                if wait_s is not None and silent_s >= wait_s:
                    raise Gone(f"no progress for {wait_s:g} s")
                yield b""
                continue
            silent_s = 0.0
            payload = self.receive(wait_s)
            if not payload:
                return
            yield payload

    def other_is_gone(self) -> bool:
        """Whether the other side closed, or sent something where it has nothing to say. Never blocks."""
        poll = select.poll()
        try:
            poll.register(self._sock, select.POLLRDHUP | select.POLLIN)
            return bool(poll.poll(0))
        except (OSError, ValueError):
            return True

    def drain(self, wait_s: float) -> None:
        """Say that nothing more is sent, then throw away what comes until the other side closes.

        Closing with unread bytes would make the transport drop what was sent last (a reset on TCP).
        """
        until_s = time.monotonic() + wait_s
        try:
            _shutdown(self._sock, socket.SHUT_WR)
            while (left_s := until_s - time.monotonic()) > 0:
                self._sock.settimeout(left_s)
                if not self._sock.recv(65536):
                    return
        except OSError:
            return

    def wait_writable(self, wait_s: float | None) -> bool:
        """True when bytes can be sent, False when the other side spoke (or closed) first. Raises Gone."""
        poll = select.poll()
        try:
            poll.register(self._sock, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
            events = poll.poll(None if wait_s is None else wait_s * 1000)
        except (OSError, ValueError) as error:
            raise Gone(str(error)) from error
        if not events:
            raise Gone(f"nothing was taken for {wait_s:g} s")
        return not events[0][1] & (select.POLLIN | _GONE)

    def close(self) -> None:
        """From any thread; whoever waits on this stream gets Gone."""
        self.interrupt()
        self._sock.close()

    def interrupt(self) -> None:
        """Like close(), but the socket stays its thread's to close."""
        with suppress(OSError):  # it is closed already
            _shutdown(self._sock, socket.SHUT_RDWR)

    def _something_came(self, wait_s: float) -> bool:
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return True
        poll = select.poll()
        try:
            poll.register(self._sock, select.POLLRDHUP | select.POLLIN)
            return bool(poll.poll(wait_s * 1000))
        except (OSError, ValueError):
            return True  # receive() tells why

    def _send_all(self, data: bytes, wait_s: float | None) -> None:
        try:
            self._sock.settimeout(wait_s)
            self._sock.sendall(data)
        except OSError as error:
            raise Gone(_why(error, wait_s)) from error

    def _exactly(self, count: int, until_s: float | None) -> bytes:
        data = bytearray()
        while len(data) < count:
            left_s = None if until_s is None else until_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise Gone("nothing more came in time")
            try:
                self._sock.settimeout(left_s)
                piece = self._sock.recv(min(count - len(data), 262144))
            except OSError as error:
                raise Gone(_why(error, left_s)) from error
            if not piece:
                raise Gone("the connection was closed")
            data += piece
        return bytes(data)


def _shutdown(sock: socket.socket, how: int) -> None:
    """Of the transport: SSLSocket's own would go on without TLS, and read what is still to come as plain bytes."""
    socket.socket.shutdown(sock, how)


def _why(error: OSError, wait_s: float | None) -> str:
    return f"no progress for {wait_s:g} s" if isinstance(error, TimeoutError) and wait_s is not None else str(error)
