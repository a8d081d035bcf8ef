"""GET /events: what changes, as server-sent events (HTML Living Standard, 9.2). What an event is, services/events.py
says.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from marshmallow import Schema

from pvc_api_falcon.errors import BadParameters
from pvc_api_falcon.fields import Names, text
from pvc_api_falcon.route import Call, Route, Streamed
from pvc_core.services.events import KINDS, Behind, Event, EventLog

EVENTS = "text/event-stream"
TICK_S = 15.0
"""A comment is sent when nothing happens for so long: proxies and clients know that the line is alive."""
ANEW = "read everything anew, then listen on"


class EventsIn(Schema):
    kind = Names(load_default=list, metadata={"description": f"only these of {', '.join(KINDS)}"})
    last_event_id = text(load_default="", metadata={"description": "for who cannot send Last-Event-ID"})


class Listener:
    """One client's events, from `number` on."""

    def __init__(self, log: EventLog, number: int, kinds: frozenset[str], first: str) -> None:
        self._log, self._number, self._kinds, self._first = log, number, kinds, first
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield self._first.encode()
        while not self._closed:
            try:
                events = self._log.after(self._number, wait_s=TICK_S, closed=lambda: self._closed)
            except Behind as error:
                yield _shown("cut", {"reason": error.message, "help": error.help}).encode()
                return
            for event in events:
                self._number = event.number
                if event.kind == "all" or not self._kinds or event.kind in self._kinds:
                    yield self._event(event).encode()
            if not events and not self._closed:
                yield b": nothing new\n\n"

    def close(self) -> None:
        self._closed = True
        self._log.wake()

    def _event(self, event: Event) -> str:
        id = f"{self._log.life}-{event.number}"
        if event.kind == "all":
            return _shown("reset", {"reason": "anything may have changed", "help": ANEW}, id)
        return _shown(event.kind, {"kind": event.kind, **event.body}, id)


def listen(call: Call) -> Streamed:
    kinds = frozenset(call.args["kind"])
    if unknown := sorted(kinds - set(KINDS)):
        raise BadParameters({"kind": f"there is no {', '.join(unknown)}"}, help=f"kinds: {', '.join(KINDS)}")
    log, asked = call.services.events, call.args["last_event_id"] or call.last_event_id
    number, first = _start(log, asked)
    return Streamed(Listener(log, number, kinds, first), EVENTS)


def _start(log: EventLog, asked: str) -> tuple[int, str]:
    """(after which number, what is said first): goes on where the client was, or says that it cannot."""
    last = log.last
    life, _, number = asked.rpartition("-")
    if not asked:
        return last, _shown("ready", {}, f"{log.life}-{last}")
    if life == log.life and number.isdecimal() and len(number) < 20 and int(number) <= last:
        try:
            log.after(int(number), wait_s=0, closed=lambda: True)
            return int(number), _shown("ready", {}, asked)
        except Behind:
            pass
    reason = {"reason": f"what came after {asked[:40]} is not known here", "help": ANEW}
    return last, _shown("reset", reason, f"{log.life}-{last}")


def _shown(name: str, body: object, id: str = "") -> str:
    head = f"id: {id}\n" if id else ""
    return f"{head}event: {name}\ndata: {msgspec.json.encode(body).decode()}\n\n"


ROUTES = (
    Route(
        method="GET", path="/events", does=listen, takes=EventsIn, asks=True, content_type=EVENTS,
        help="What changes, as server-sent events; goes on after Last-Event-ID.",
    ),
)  # fmt: skip
