"""The outermost ASGI app of one listener: whether who comes through it is local, and whether they are still there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

VISIT = "pvc.visit"
_SLOW = b'{"message":"the body did not begin in time","code":"too_slow","help":"","request_id":""}'


class Visit:
    """One request's connection, as the app may ask about it."""

    def __init__(self, receive: Receive, *, local: bool) -> None:
        self.local = local
        self.complete = False
        """All of the body has come."""
        self.gone = False
        """The client has closed (or the answer is complete)."""
        self._receive = receive
        self._first: Event | None = None

    @property
    def cut(self) -> bool:
        """The client went before it had sent all it announced."""
        return self.gone and not self.complete

    async def begin(self, within_s: float) -> None:
        """Wait for the first piece of the body, or its absence. Raises TimeoutError."""
        self._first = await asyncio.wait_for(self.receive(), within_s)

    async def receive(self) -> Event:
        if self._first is not None:
            event, self._first = self._first, None
            return event
        event = await self._receive()
        if event["type"] == "http.disconnect":
            self.gone = True
        elif not event.get("more_body"):
            self.complete = True
        return event

    async def left(self) -> None:
        """Return when the client has gone. Only once the body has been read."""
        while not self.gone:
            await self.receive()


class Door:
    """`local` is told by which door a request came in, never by what it says of itself."""

    def __init__(self, app: App, *, local: bool, log: Any, within_s: float, sessions: Any = None) -> None:
        """`sessions` answers websockets."""
        self._app, self._local, self._log, self._within_s = app, local, log, within_s
        self._sessions = sessions

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and self._sessions is not None:
            await self._sessions(scope, receive, send, local=self._local)
            return
        if scope["type"] != "http":
            return
        visit = scope[VISIT] = Visit(receive, local=self._local)
        try:
            await visit.begin(self._within_s)
        except TimeoutError:
            await _too_slow(send)
            return
        try:
            await self._app(scope, visit.receive, send)
        except Exception as error:  # noqa: BLE001  # begun answers only: uvicorn closes the connection, which tells the client
            self._log.error("an answer broke off", method=scope["method"], path=scope["path"], exc_info=error)


async def _too_slow(send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    headers.append((b"content-length", str(len(_SLOW)).encode()))
    await send({"type": "http.response.start", "status": 408, "headers": headers})
    await send({"type": "http.response.body", "body": _SLOW})
