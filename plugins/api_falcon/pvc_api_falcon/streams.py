"""Bodies that are not held in memory: files coming in, logs and images going out. Between the loop and a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import falcon
from falcon.asgi import Request
from falcon.asgi.multipart import BodyPart

from pvc_api_falcon.door import Visit
from pvc_api_falcon.errors import TooBig, TooSlow
from pvc_api_falcon.route import Streamed
from pvc_api_falcon.workers import Workers
from pvc_core.errors import Invalid, Retry
from pvc_core.units import KIB, MIB

PIECE_BYTES = MIB

T = TypeVar("T")
Read = Callable[[int], Awaitable[bytes]]
Finish = Callable[[], Awaitable[None]]


async def whole_body(req: Request, *, limit_bytes: int, within_s: float) -> bytes:
    """An ordinary body. Raises TooBig, without reading what is too much of it, and TooSlow."""
    if (req.content_length or 0) > limit_bytes:
        raise _too_big(limit_bytes)
    try:
        async with asyncio.timeout(within_s):
            return await _limited(req, limit_bytes)
    except TimeoutError:
        raise TooSlow(f"the body had not come after {within_s:g} s", help="send it again, all at once") from None


async def _limited(req: Request, limit_bytes: int) -> bytes:
    body = bytearray()
    async for piece in req.stream:
        body += piece
        if len(body) > limit_bytes:
            raise _too_big(limit_bytes)
    return bytes(body)


def _too_big(limit_bytes: int) -> TooBig:
    return TooBig(f"the body has more than {limit_bytes // KIB} KiB", help="only uploads of images may be larger")


class Incoming:
    """An uploaded file as the services take it: iterated over in a thread, read in the loop.

    Raises Retry when the client goes, or stalls for `idle_s`, before the file's end; Invalid for a broken form.
    """

    def __init__(self, read: Read, finish: Finish, visit: Visit, *, idle_s: float) -> None:
        self._read, self._finish, self._visit, self._idle_s = read, finish, visit, idle_s
        self._loop = asyncio.get_running_loop()

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._in_loop(self._read(PIECE_BYTES)):
            yield piece
        if not self._visit.cut:
            self._in_loop(self._finish())
        if self._visit.cut:
            raise Retry("the upload broke off: the client went away", help="send it again; nothing was changed")

    def _in_loop(self, step: Awaitable[T]) -> T:
        future = asyncio.run_coroutine_threadsafe(self._in_time(step), self._loop)
        try:
            return future.result(self._idle_s + 5.0)
        except TimeoutError:
            raise Retry(
                f"the upload stalled for {self._idle_s:g} s", help="send it again; nothing was changed"
            ) from None
        except falcon.HTTPError as error:
            raise Invalid(f"the form with the file is broken: {error.description or error.title}") from None

    async def _in_time(self, step: Awaitable[T]) -> T:
        async with asyncio.timeout(self._idle_s):
            return await step


async def uploaded(req: Request, visit: Visit, *, idle_s: float) -> tuple[Incoming, int | None]:
    """The file in a request: the first one of a multipart form, or the body itself; and its size if that is known."""
    kind = (req.content_type or "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        return Incoming(req.stream.read, _nothing_more, visit, idle_s=idle_s), req.content_length
    form = await req.get_media()
    parts = form.__aiter__()
    async for part in parts:
        if part.filename is not None or part.name == "file":
            return Incoming(part.stream.read, partial(_next_part, parts), visit, idle_s=idle_s), None
    raise Invalid("the form has no file", help="send it as a part with a filename, or as the body itself")


async def _nothing_more() -> None:
    """A body of its own ends where it ends."""


async def _next_part(parts: AsyncIterator[BodyPart]) -> None:
    """Raises falcon's HTTPError when the file does not end with the form's boundary: then it is not whole."""
    await anext(parts, None)


class Outgoing:
    """A Flow on its way to a client (Falcon's `resp.stream`): ends with it, with the client or with the server."""

    def __init__(
        self, streamed: Streamed, workers: Workers, visit: Visit, over: asyncio.Future[None], done: Callable[[], None]
    ) -> None:
        self._streamed, self._workers, self._over, self._done = streamed, workers, over, done
        self._pieces = iter(streamed.flow)
        self._left = asyncio.ensure_future(visit.left())

    def __aiter__(self) -> Outgoing:
        return self

    async def __anext__(self) -> bytes:
        while True:
            piece: asyncio.Future[Any] = self._workers.run(lambda: next(self._pieces, None))
            await asyncio.wait([piece, self._left, self._over], return_when=asyncio.FIRST_COMPLETED)
            if self._over.done() and self._streamed.whole:
                raise Retry("the API is being stopped")  # a clean end would say that this was all of it
            if self._over.done() or self._left.done():
                piece.cancel()
                raise StopAsyncIteration
            data = piece.result()
            if data is None:
                raise StopAsyncIteration
            if data:
                return bytes(data)

    async def close(self) -> None:
        """The flow's close() lets go the thread that waits for its next piece."""
        self._streamed.flow.close()
        self._left.cancel()
        self._done()
