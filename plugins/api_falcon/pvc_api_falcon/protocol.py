"""uvicorn's HTTP protocol with the limits it lacks: on heads that never end, and on readers that read nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pvc_api_falcon.settings import Settings

_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\ncontent-length: 26\r\n"
    b"connection: close\r\n\r\nthe request head too long\n"
)


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
            super().connection_made(transport)
            self._wait_for_head()

        def connection_lost(self, exc: Exception | None) -> None:
            _cancel(self._head_timer)
            _cancel(self._stall_timer)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._in_head:
                self._head_bytes += len(data)
            super().data_received(data)
            if self._in_head and self._head_bytes > settings.head_limit_bytes and not self.transport.is_closing():
                self.transport.write(_TOO_LONG)
                self.transport.close()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_head = True
            if self._head_timer is None:
                self._wait_for_head()

        def on_headers_complete(self) -> None:
            self._in_head, self._head_bytes = False, 0
            _cancel(self._head_timer)
            self._head_timer = None
            super().on_headers_complete()

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
