"""Between Falcon and the routes: who asks, what with, in which thread it is done, how the answer or error goes out."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import falcon
import falcon.asgi
import msgspec
from falcon.asgi import Request, Response
from marshmallow import Schema

from pvc_api_falcon.auditing import Auditing
from pvc_api_falcon.auth import COOKIE, NOBODY, Caller, Doorkeeper
from pvc_api_falcon.bodies import VmBodies
from pvc_api_falcon.door import VISIT, Visit
from pvc_api_falcon.errors import NoSuchMethod, NoSuchPath, Problem, problem
from pvc_api_falcon.idempotency import HEADER as IDEMPOTENCY_KEY
from pvc_api_falcon.idempotency import Replays
from pvc_api_falcon.paging import part_of
from pvc_api_falcon.params import gather, load
from pvc_api_falcon.preconditions import bound, current, etag, has_version
from pvc_api_falcon.roles import check_role
from pvc_api_falcon.route import JSON, Answer, Call, Route, Streamed
from pvc_api_falcon.routes import ROUTES
from pvc_api_falcon.sessions import Sessions
from pvc_api_falcon.settings import BASE, Settings
from pvc_api_falcon.stale import age, check_store, marked
from pvc_api_falcon.streams import Outgoing, uploaded, whole_body
from pvc_api_falcon.tickets import Tickets
from pvc_api_falcon.workers import Workers
from pvc_core.errors import Invalid, PvcError, Retry
from pvc_core.ids import new_request_id
from pvc_core.services import Services

PATH_NAME_MAX = 255
SAFE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_WAITING = 1000

Responder = Callable[..., Awaitable[None]]


def build_app(dispatcher: Dispatcher, routes: tuple[Route, ...] = ROUTES) -> falcon.asgi.App[Request, Response]:
    app = falcon.asgi.App(middleware=[Frame(dispatcher)])
    resources: dict[str, SimpleNamespace] = defaultdict(SimpleNamespace)
    for route in routes:
        responder = dispatcher.responder(route)
        setattr(resources[route.path], f"on_{route.method.lower()}", responder)
        if route.method == "GET":  # RFC 9110, 9.3.2; Falcon leaves the body out
            resources[route.path].on_head = responder
    for path, resource in resources.items():
        app.add_route(BASE + path.rstrip("/"), resource)
    app.add_route(f"{BASE}/", resources["/"])
    for kind in (Exception, PvcError, falcon.HTTPError):
        app.add_error_handler(kind, dispatcher.refuse)
    return app


class Frame:
    """What every request has: an id, and a path that means what it looks like."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def process_request(self, req: Request, resp: Response) -> None:
        req.context.id = new_request_id()
        req.context.began_s = self._dispatcher.now_s()
        resp.set_header("X-Request-Id", req.context.id)
        if b"%2f" in req.scope.get("raw_path", b"").lower():
            raise Invalid("a name in the path has a '/' in it", help="names are letters, digits, '.', '-' and '_'")

    async def process_response(self, req: Request, resp: Response, resource: object, req_succeeded: bool) -> None:
        if sentence := self._dispatcher.maintenance():
            resp.set_header("PVC-Maintenance", _printable(sentence))
        self._dispatcher.protect(req, resp)
        self._dispatcher.note(req, resp)


class Dispatcher:
    def __init__(self, settings: Settings, services: Services, log: Any) -> None:
        self._settings, self._services, self._log = settings, services, log
        self._doorkeeper = Doorkeeper(services, key_required=settings.key_required, failures=settings.failed_logins)
        self._vm_bodies = VmBodies(services)
        self._look = Workers("pvc-api-look", settings.lookers, _WAITING)
        self._work = Workers("pvc-api-work", settings.workers, _WAITING)
        self._flow = Workers("pvc-api-flow", settings.streams, 0)
        self._auditing = Auditing(services.audit, self._work, log)
        self._tickets = Tickets(self.now_s)
        self._replays = Replays(self.now_s)
        self._streams = 0
        loop = asyncio.get_running_loop()
        self._no_more_streams: asyncio.Future[None] = loop.create_future()
        self._no_more_waiting: asyncio.Future[None] = loop.create_future()

        over = self._no_more_streams
        self.sessions = Sessions(settings, services, self._tickets, self._auditing, over, log)

    def end(self) -> None:
        """Streams end now; requests get a moment to, then those that still wait are told that nobody waits for them."""
        if not self._no_more_streams.done():
            self._no_more_streams.set_result(None)
            asyncio.get_running_loop().call_later(
                self._settings.stop_within_s / 2, self._no_more_waiting.set_result, None
            )

    def now_s(self) -> float:
        return self._services.desk.clock.boottime_s()

    def maintenance(self) -> str:
        """Said with every answer; "" while it is off."""
        return self._services.cluster.maintenance_sentence

    def responder(self, route: Route) -> Responder:
        schema = None if route.takes is None else route.takes()

        async def respond(req: Request, resp: Response, **names: str) -> None:
            await self._respond(route, schema, req, resp, names)

        return respond

    async def refuse(self, req: Request, resp: Response, error: Exception, params: Mapping[str, str]) -> None:
        """Falcon's error handler: every no goes out here."""
        error = _of_falcon(req, error) if isinstance(error, falcon.HTTPError) else error
        request_id = getattr(req.context, "id", "")
        route: Route | None = getattr(req.context, "route", None)
        found = problem(error, request_id=request_id, missing=route.status_if_missing if route else 404)
        if found.status == 500:
            self._log.error("a request failed", request_id=request_id, method=req.method, path=req.path, exc_info=error)
        _send_problem(resp, found)
        if not req.scope[VISIT].complete:
            resp.set_header("Connection", "close")  # what else it would send is not wanted

    def protect(self, req: Request, resp: Response) -> None:
        """What browsers are told about every answer (OWASP's list of headers for APIs)."""
        for name, value in SAFE_HEADERS.items():
            if resp.get_header(name) is None:
                resp.set_header(name, value)
        if self._settings.certificate and not req.scope[VISIT].local:
            resp.set_header("Strict-Transport-Security", "max-age=31536000")

    def note(self, req: Request, resp: Response) -> None:
        """Who changed what: every request that is not a GET is logged, and goes into the audit log."""
        if req.method in ("GET", "HEAD"):
            return
        self._auditing.note(req, resp)
        self._log.info(
            "request", method=req.method, path=req.path, status=resp.status_code, by=getattr(req.context, "by", ""),
            ms=round((self.now_s() - req.context.began_s) * 1000), request_id=req.context.id,
        )  # fmt: skip

    async def _respond(
        self, route: Route, schema: Schema | None, req: Request, resp: Response, names: Mapping[str, str]
    ) -> None:
        req.context.route = route
        visit: Visit = req.scope[VISIT]
        self._check_there(route, req)
        needs_key = not route.open or (route.metrics and self._settings.metrics == "key")
        caller = await self._admit(route, req, visit) if needs_key else NOBODY
        if not route.open:
            check_store(self._services.cluster, changes=route.method != "GET")
        _check_names(names)
        call = await self._call(route, schema, req, visit, names, caller)
        if route.login:
            await self._doorkeeper.admit(call.args["token"], local=False, address=_address(req))
        workers = self._look if route.looks else self._work
        before = current(self._services, names) if route.looks and has_version(route) else None
        answer = await self._once(route, call, req, partial(workers.run, partial(bound, route.does, call)))
        if isinstance(answer, Streamed):
            if req.method == "HEAD":
                answer.flow.close()
                answer = Answer(headers=answer.headers, content_type=answer.content_type)
                _send(resp, answer)
            else:
                self._stream(resp, answer, visit)
            return
        if before is not None and answer.status == 200:  # read before the body was: it is never newer than that
            answer = replace(answer, headers={"ETag": etag(before), **answer.headers})
        if route.method == "GET":
            answer = part_of(answer, req.scope["query_string"], route.path.format(**names))
        _send(resp, marked(answer, age(self._services, route)))

    async def _once(
        self, route: Route, call: Call, req: Request, work: Callable[[], asyncio.Future[Answer | Streamed]]
    ) -> Answer | Streamed:
        """A POST with an Idempotency-Key is done once, however often it is sent."""
        key = req.get_header(IDEMPOTENCY_KEY) if route.method == "POST" and not route.upload else None
        if key is None:
            return await self._while_serving(work())
        done = self._replays.begin(route, call, key)
        if done is not None:
            return done
        answer: Answer | Streamed | None = None
        try:
            answer = await self._while_serving(work())
        finally:
            self._replays.end(call, key, answer if isinstance(answer, Answer) else None)
        return answer

    def _check_there(self, route: Route, req: Request) -> None:
        """Raises NoSuchPath for what pvc.yaml has switched off."""
        if route.metrics and self._settings.metrics == "off":
            help = "plugins.api_falcon.metrics in pvc.yaml is off"
            raise NoSuchPath(f"there is nothing at GET {req.path[:200]!r}", help=help)

    async def _admit(self, route: Route, req: Request, visit: Visit) -> Caller:
        key = req.get_header("X-Api-Key") or _bearer(req) or next(iter(req.get_cookie_values(COOKIE) or ()), None)
        caller = await self._doorkeeper.admit(key, local=visit.local, address=_address(req))
        req.context.by, req.context.caller = caller.name, caller
        check_role(caller.name, caller.role, route)
        return caller

    async def _call(
        self, route: Route, schema: Schema | None, req: Request, visit: Visit, names: Mapping[str, str], caller: Caller
    ) -> Call:
        base = Call(
            services=self._services, vm_bodies=self._vm_bodies, tickets=self._tickets, by=caller.name, role=caller.role,
            names=names, args={},
            last_event_id=req.get_header("Last-Event-ID") or "",
            if_match=req.get_header("If-Match") or "", secure=bool(self._settings.certificate) and not visit.local,
        )  # fmt: skip
        if schema is None:
            return base
        query = req.scope["query_string"]
        if route.upload:
            args = req.context.args = load(schema, gather(query, "", b""))
            incoming, size_bytes = await uploaded(req, visit, idle_s=self._settings.idle_s)
            return replace(base, args=args, upload=incoming, upload_bytes=size_bytes)
        limit_bytes = route.body_limit_bytes or self._settings.body_limit_bytes
        body = await whole_body(req, limit_bytes=limit_bytes, within_s=self._settings.body_within_s)
        given = gather(query, req.content_type or "", body)
        given = given.filled() if route.method == "GET" else given
        args = req.context.args = load(schema, given, free=route.free)
        return replace(base, args=args)

    async def _while_serving(self, work: asyncio.Future[Answer | Streamed]) -> Answer | Streamed:
        either: list[asyncio.Future[Any]] = [work, self._no_more_waiting]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        work.cancel()
        raise Retry(
            "the API is being stopped, so nobody waits for this here any more", help="it goes on by itself; look again"
        )

    def _stream(self, resp: Response, answer: Streamed, visit: Visit) -> None:
        if self._streams >= self._settings.streams:
            answer.flow.close()
            raise Retry(
                f"{self._streams} logs and downloads are running already", help="end one of them, or ask again later"
            )
        self._streams += 1
        resp.content_type = answer.content_type
        for name, value in answer.headers.items():
            resp.set_header(name, value)
        resp.stream = Outgoing(answer, self._flow, visit, self._no_more_streams, self._stream_ended)

    def _stream_ended(self) -> None:
        self._streams -= 1


def _check_names(names: Mapping[str, str]) -> None:
    """Whatever no object can be called is refused before it is looked for. Raises Invalid."""
    for what, name in names.items():
        if not name:
            raise Invalid(f"the {what} name in the path is empty")
        if len(name) > PATH_NAME_MAX or not name.isprintable():
            shown = (
                f"has {len(name)} characters"
                if len(name) > PATH_NAME_MAX
                else f"{name!r} has characters that no name has"
            )
            raise Invalid(f"the {what} name in the path {shown}", help="names are letters, digits, '.', '-' and '_'")


def _printable(sentence: str) -> str:
    """What a header may carry (RFC 9110, 5.5): somebody's reason may be in any script, or in several lines."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in sentence[:500])


def _send(resp: Response, answer: Answer) -> None:
    resp.status = answer.status
    resp.data = answer.body
    resp.content_type = answer.content_type
    for name, value in answer.headers.items():
        if name == "Set-Cookie":
            resp.append_header(name, value)
        else:
            resp.set_header(name, value)


def _address(req: Request) -> str:
    return str(req.remote_addr or "")


def _bearer(req: Request) -> str | None:
    """RFC 6750, 2.1: what Prometheus and others know to send."""
    scheme, _, key = (req.get_header("Authorization") or "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def _send_problem(resp: Response, found: Problem) -> None:
    _send(resp, Answer(found.status, msgspec.json.encode(found.body), found.headers, JSON))


def _of_falcon(req: Request, error: falcon.HTTPError) -> PvcError:
    """What Falcon itself refuses, in our words."""
    shown = f"{req.method} {req.path[:200]!r}"
    if error.status_code == 405:
        allow = dict(error.headers or {}).get("Allow", "")
        return NoSuchMethod(f"{shown} is not possible", allow=allow, help=f"this path has {allow or 'no methods'}")
    if error.status_code == 404:
        return NoSuchPath(f"there is nothing at {shown}", help="docs/api.md lists the paths")
    return Invalid(f"the request {shown} is not valid: {error.description or error.title}")
