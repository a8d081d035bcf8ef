"""Websockets (RFC 6455): a line to a guest's console or screen (pvc_core/services/lines.py), carried to a client.

Each is opened with a ticket, ends with the client, the line, the key it was opened with, or this API, and says why.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote

import msgspec

from pvc_api_falcon.auditing import Auditing
from pvc_api_falcon.errors import Problem, problem
from pvc_api_falcon.params import gather, load
from pvc_api_falcon.routes.vm_line import ConsoleIn, ScreenIn
from pvc_api_falcon.settings import BASE, Settings
from pvc_api_falcon.stale import check_store
from pvc_api_falcon.tickets import Ticket, Tickets
from pvc_api_falcon.workers import Workers
from pvc_core.errors import NotFound, PvcError, Retry
from pvc_core.ids import new_request_id
from pvc_core.model.audit import AuditEntry
from pvc_core.services import Services
from pvc_core.services.keys import seal_of
from pvc_core.services.lines import Line
from pvc_core.services.rfb import LookOnly

PATH = re.compile(re.escape(BASE) + r"/vm/([^/]+)/(console|vnc)/ws")
LOOK_S = 1.0
REASON_MAX_BYTES = 123
"""RFC 6455, 5.5: a close frame has 125 bytes, two of them the code."""
NORMAL, AWAY, FAULT, AGAIN = 1000, 1001, 1011, 1013
IDLE, NO_KEY = 4000, 4001
SCHEMAS = {"console": ConsoleIn(), "vnc": ScreenIn()}


@dataclass(slots=True)
class Session:
    """One websocket that was accepted."""

    ticket: Ticket
    line: Line
    pieces: Iterator[bytes]
    name: str
    source: str
    id: str
    began_s: float
    used_s: float
    shown_bytes: int = 0
    typed_bytes: int = 0
    looker: LookOnly | None = None
    receive: Any = None
    send: Any = None
    ending: asyncio.Future[tuple[int, str]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def end(self, code: int, reason: str) -> None:
        if not self.ending.done():
            self.ending.set_result((code, reason))


class Sessions:
    """In the loop's thread; lines are read and written in threads of their own."""

    def __init__(
        self, settings: Settings, services: Services, tickets: Tickets, auditing: Auditing,
        over: asyncio.Future[None], log: Any,
    ) -> None:  # fmt: skip
        """`over`: this API is being stopped."""
        self._settings, self._services, self._tickets = settings, services, tickets
        self._auditing, self._over, self._log = auditing, over, log
        # one thread waits for what each line says, another gives it what was typed
        self._workers = Workers("pvc-api-line", 2 * settings.sessions + 2, settings.sessions)
        self._open = self._talking = 0

    async def __call__(self, scope: Any, receive: Any, send: Any, *, local: bool) -> None:
        await receive()  # websocket.connect
        id = new_request_id()
        try:
            session = await self._opened(scope, id, local)
        except Exception as error:  # noqa: BLE001  # every no goes out here, as in Dispatcher.refuse
            await self._refuse(scope, send, error, id)
            return
        session.receive, session.send = receive, send
        self._talking += 1
        try:
            await _bye(send, *await self._served(session, id))
        finally:
            self._talking -= 1

    async def said_goodbye(self, within_s: float) -> None:
        """Return when everybody has been told why it ends, at the latest after `within_s` seconds."""
        now_s = asyncio.get_running_loop().time
        until_s = now_s() + within_s
        while self._talking and now_s() < until_s:
            await asyncio.sleep(0.01)

    async def _served(self, session: Session, id: str) -> tuple[int, str]:
        """Why it ended."""
        code, reason = FAULT, "a fault of PVC itself"
        try:
            await session.send({"type": "websocket.accept", "headers": [(b"x-request-id", id.encode())]})
            self._tell(session, 101, f"{session.ticket.kind} opened")
            code, reason = await self._carry(session)
        finally:
            self._open -= 1
            session.line.close()
            shown, typed = session.shown_bytes, session.typed_bytes
            lasted_s = self._now_s() - session.began_s
            self._tell(session, 200, f"closed after {lasted_s:.0f} s, {shown} bytes shown, {typed} typed: {reason}")
        return code, reason

    async def _opened(self, scope: Any, id: str, local: bool) -> Session:
        """Raises what the client is refused with."""
        found = PATH.fullmatch(scope["path"])
        if found is None:
            raise NotFound("there is no websocket at this path", help="docs/api.md lists the paths")
        name, kind = unquote(found[1]), found[2]
        args = load(SCHEMAS[kind], gather(scope["query_string"], "", b""))
        ticket = self._tickets.take(args["ticket"], kind)
        check_store(self._services.cluster, changes=False)
        vm = self._services.vms.get(name)
        if vm.wanted.uuid != ticket.uuid:
            raise NotFound(f"this ticket is for another VM than {name}", help="ask for one for this VM")
        if self._open >= self._settings.sessions:
            raise Retry(f"{self._open} consoles and screens are open already", help="close one, or ask again later")
        self._open += 1
        try:
            opens: Callable[[], Line] = (
                (lambda: self._services.vms.open_console(name, args["lines"]))
                if kind == "console"
                else (lambda: self._services.vms.open_screen(name))
            )
            line = await self._workers.run(opens)
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            self._open -= 1
            raise
        source = "local" if local else str((scope.get("client") or [""])[0])
        looker = None if ticket.may_type or kind == "console" else LookOnly()
        now_s = self._now_s()
        return Session(ticket, line, iter(line), vm.wanted.name, source, id, now_s, now_s, looker=looker)

    async def _carry(self, session: Session) -> tuple[int, str]:
        """Until something ends it: the code and the reason."""
        tasks = [asyncio.ensure_future(one(session)) for one in (self._show, self._type, self._watch)]
        try:
            either: list[asyncio.Future[Any]] = [session.ending, *tasks]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done() and not task.cancelled() and (error := task.exception()):
                    session.end(*_ended(error))
            return await session.ending
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _show(self, session: Session) -> None:
        while True:
            piece = await self._workers.run(lambda: next(session.pieces, None))
            if piece is None:
                session.end(NORMAL, "the guest's side has ended")
                return
            if piece:
                session.used_s, session.shown_bytes = self._now_s(), session.shown_bytes + len(piece)
                async with asyncio.timeout(self._settings.idle_s):  # a reader that takes nothing is left
                    await session.send({"type": "websocket.send", "bytes": bytes(piece)})

    async def _type(self, session: Session) -> None:
        while True:
            event = await session.receive()
            if event["type"] == "websocket.disconnect":
                session.end(NORMAL, "the client has left")
                return
            data = event.get("bytes") or (event.get("text") or "").encode()
            session.used_s = self._now_s()
            if session.looker is not None:
                data = session.looker.passed(data)
            elif not session.ticket.may_type:
                continue
            if not data:
                continue
            session.typed_bytes += len(data)
            why = await self._workers.run(partial(session.line.write, data))
            if why:
                said = f"\r\n[pvc: what you typed did not arrive: {why}]\r\n"
                await session.send({"type": "websocket.send", "text": said})

    async def _watch(self, session: Session) -> None:
        while True:
            await asyncio.wait([self._over], timeout=LOOK_S)
            idle_s = self._now_s() - session.used_s
            if self._over.done():
                session.end(AWAY, "this API is being stopped; open it again")
            elif idle_s > self._settings.session_idle_s:
                session.end(IDLE, f"nothing was said or typed for {idle_s:.0f} s")
            elif seal_of(self._services.desk.view, session.ticket.by) != session.ticket.seal:
                session.end(NO_KEY, f"key {session.ticket.by} was removed or changed")
            else:
                continue
            return

    async def _refuse(self, scope: Any, send: Any, error: Exception, id: str) -> None:
        found = problem(error, request_id=id)
        if found.status == 500:
            self._log.error("a websocket failed", request_id=id, path=scope["path"], exc_info=error)
        await send({"type": "websocket.http.response.start", "status": found.status, "headers": _headers(found, id)})
        await send({"type": "websocket.http.response.body", "body": msgspec.json.encode(found.body)})

    def _tell(self, session: Session, status: int, result: str) -> None:
        """Who looked at what is kept beside who changed what: typing into a console changes things."""
        ticket = session.ticket
        what = "" if ticket.may_type else "look=True"
        self._auditing.add(
            AuditEntry(
                at_s=time.time(), by=ticket.by, role=ticket.role, source=session.source, args=what, status=status,
                action=f"GET /vm/{session.name}/{ticket.kind}/ws", result=result, request_id=f"{session.id}-{status}",
            )
        )  # fmt: skip
        self._log.info(
            "websocket", vm=session.name, kind=ticket.kind, by=ticket.by, result=result, request_id=session.id
        )

    def _now_s(self) -> float:
        return self._services.desk.clock.boottime_s()


def _ended(error: BaseException) -> tuple[int, str]:
    if isinstance(error, TimeoutError):
        return AWAY, "the client takes nothing any more"
    if isinstance(error, PvcError):
        return (AGAIN if isinstance(error, Retry) else FAULT), error.message
    return AWAY, "the client has left"


def _headers(found: Problem, id: str) -> list[tuple[bytes, bytes]]:
    told = {"Content-Type": "application/json", "X-Request-Id": id, "Cache-Control": "no-store", **found.headers}
    return [(name.lower().encode(), value.encode()) for name, value in told.items()]


async def _bye(send: Any, code: int, reason: str) -> None:
    short = reason.encode()[:REASON_MAX_BYTES].decode(errors="ignore")
    try:
        await send({"type": "websocket.close", "code": code, "reason": short})
    except Exception:  # noqa: BLE001  # uvicorn's own class for: it has left already
        return
