"""uvicorn's HTTP protocol with what it lacks: limits on heads that never end and on readers that read nothing, an end
of the connection that does not swallow its own last answer, and our own words for what is not HTTP."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pvc_api_falcon.settings import Settings


def _no(status: str, code: str, message: str) -> bytes:
    """A whole answer, for what never became a request."""
    body = json.dumps({"message": message, "code": code, "help": "", "request_id": ""}).encode()
    fields = "content-type: application/json", f"content-length: {len(body)}", "connection: close"
    return "\r\n".join((f"HTTP/1.1 {status}", *fields, "", "")).encode() + body


SOCKET_PATH = re.compile(rb"/ws$")
"""What every path of a websocket ends with (routes/vm_line.py)."""

_TOO_LONG = _no("431 Request Header Fields Too Large", "too_big", "the request's head is too long")
_NOT_HTTP = _no("400 Bad Request", "bad_request", "this is not an HTTP request")


class Lingering:
    """A transport that, closed while the client still sends, first takes what comes for a while and throws it away.

    A socket closed with unread bytes in it sends a reset, and a reset makes the client's kernel forget the answer it
    had already received (RFC 9112, 9.6): the client would see a broken connection instead of the reason. So the own
    direction is ended, and the other read until the client ends it, or `within_s` or `limit_bytes` is over.
    """

    def __init__(self, transport: asyncio.Transport, *, within_s: float, limit_bytes: int) -> None:
        self._transport, self._within_s, self._left_bytes = transport, within_s, limit_bytes
        self._timer: asyncio.TimerHandle | None = None
        self.unread = False
        """Whether more of the present request may come."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    @property
    def lingers(self) -> bool:
        return self._timer is not None

    def is_closing(self) -> bool:
        return self.lingers or self._transport.is_closing()

    def close(self) -> None:
        if not self.unread or self.is_closing():
            self.gone()
            self._transport.close()
            return
        self._timer = asyncio.get_running_loop().call_later(self._within_s, self._transport.abort)
        if self._transport.can_write_eof():  # not over TLS: there the answer's length tells its end
            self._transport.write_eof()
        self._transport.resume_reading()

    def throw_away(self, data: bytes) -> None:
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            self._transport.abort()

    def gone(self) -> None:
        _cancel(self._timer)


def limited_protocol(settings: Settings) -> type[HttpToolsProtocol]:
    """The class for uvicorn's Config, which makes one object of it for each connection."""

    class Limited(HttpToolsProtocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._head_bytes = 0
            self._in_head = True
            self._head_timer: asyncio.TimerHandle | None = None
            self._stall_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
            self._lingering = Lingering(transport, within_s=settings.linger_s, limit_bytes=settings.linger_bytes)
            super().connection_made(self._lingering)  # type: ignore[arg-type]  # a transport in all that is used here
            self._wait_for_head()

        def connection_lost(self, exc: Exception | None) -> None:
            _cancel(self._head_timer)
            _cancel(self._stall_timer)
            self._lingering.unread = False
            self._lingering.gone()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._lingering.lingers:
                self._lingering.throw_away(data)
                return
            if self._in_head:
                self._head_bytes += len(data)
            super().data_received(data)
            if self._in_head and self._head_bytes > settings.head_limit_bytes and not self.transport.is_closing():
                self.transport.write(_TOO_LONG)
                self.transport.close()

        def send_400_response(self, msg: str) -> None:
            self._lingering.unread = True
            self.transport.write(_NOT_HTTP)
            self.transport.close()

        def _should_upgrade(self) -> bool:
            """Elsewhere, or by half a handshake, no upgrade is taken up: HTTP answers, in our words (RFC 9110, 7.8)."""
            if not SOCKET_PATH.search(self.url.partition(b"?")[0]):
                return False
            told = dict(self.headers)
            whole = bool(told.get(b"sec-websocket-key")) and told.get(b"sec-websocket-version") == b"13"
            return whole and super()._should_upgrade()

        def handle_websocket_upgrade(self) -> None:
            self._lingering.unread = False  # what comes from now on is the websocket's
            super().handle_websocket_upgrade()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_head = self._lingering.unread = True
            if self._head_timer is None:
                self._wait_for_head()

        def on_headers_complete(self) -> None:
            self._in_head, self._head_bytes = False, 0
            _cancel(self._head_timer)
            self._head_timer = None
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._lingering.unread = False
            super().on_message_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch_reader(self.transport.get_write_buffer_size())

        def resume_writing(self) -> None:
            _cancel(self._stall_timer)
            super().resume_writing()

        def _wait_for_head(self) -> None:
            self._head_timer = self.loop.call_later(settings.head_within_s, self._give_up)

        def _watch_reader(self, size_then: int) -> None:
            """A slow reader may take its time; one that takes nothing for `idle_s` is left."""
            self._stall_timer = self.loop.call_later(settings.idle_s, self._look_at_reader, size_then)

        def _look_at_reader(self, size_then: int) -> None:
            size = self.transport.get_write_buffer_size()
            if size >= size_then:
                self._give_up()
            else:
                self._watch_reader(size)

        def _give_up(self) -> None:
            self.transport.abort()

    return Limited


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
