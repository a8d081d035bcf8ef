"""Tickets for websockets: browsers cannot send a key along with one, and a key does not belong into an address.

A ticket is asked for with a key, is good for one use within some seconds, for one VM, and only at the API that gave it.
What it opens acts as that key, and ends when the key is taken away.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from pvc_api_falcon.errors import Unauthenticated
from pvc_core.errors import Retry

VALID_S = 30
TICKETS_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    kind: str
    """"console" or "vnc"."""
    uuid: str
    by: str
    role: str
    seal: str
    """What the key's record had when it was asked for: another key of the same name is another key."""
    may_type: bool
    until_s: float = 0.0


class Tickets:
    """From any thread. Nothing of it outlives this API."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._kept: dict[str, Ticket] = {}

    def keep(self, **what: str | bool) -> str:
        """A new ticket for it (the fields of Ticket). Raises Retry when there are too many unused ones."""
        now_s, name = self._now_s(), secrets.token_urlsafe(32)
        with self._lock:
            self._kept = {name: one for name, one in self._kept.items() if one.until_s > now_s}
            if len(self._kept) >= TICKETS_MAX:
                raise Retry(f"{TICKETS_MAX} tickets wait to be used already", help=f"they last {VALID_S} s; wait")
            self._kept[name] = Ticket(until_s=now_s + VALID_S, **what)  # type: ignore[arg-type]  # its fields
        return name

    def take(self, name: str, kind: str) -> Ticket:
        """What it is for; from now on it is good for nothing. Raises Unauthenticated."""
        with self._lock:
            ticket = self._kept.pop(name, None)
        if ticket is None or ticket.until_s <= self._now_s() or ticket.kind != kind:
            raise Unauthenticated(
                f"this ticket opens no {kind}: it was used, is older than {VALID_S} s, or is none of this API",
                help=f"POST /vm/NAME/{kind}/ticket at this API gives one",
            )
        return ticket
