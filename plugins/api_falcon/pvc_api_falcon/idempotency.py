"""Idempotency-Key: a POST sent again, because its answer got lost, is answered with what it was answered first.

As in draft-ietf-httpapi-idempotency-key-header. Kept in the memory of one API for a day: a client that turns to another
coordinator meanwhile may meet "exists already" instead. What failed is not kept; it may be tried again.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from pvc_api_falcon.errors import BadParameters
from pvc_api_falcon.route import Answer, Call, Route
from pvc_core.errors import Conflict

HEADER = "Idempotency-Key"
KEY_MAX, KEPT_MAX, KEPT_S = 255, 10_000, 86_400.0


@dataclass(slots=True)
class Kept:
    request: bytes
    until_s: float
    answer: Answer | None = None
    """None while it is being worked on."""


class Replays:
    """In the loop's thread only."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()

    def begin(self, route: Route, call: Call, key: str) -> Answer | None:
        """The answer if this was done before; else it is begun, and `end` must follow.

        Raises BadParameters (another request had this key), Conflict (it is being worked on).
        """
        if not 0 < len(key) <= KEY_MAX or not all("!" <= letter <= "~" for letter in key):
            raise BadParameters({HEADER: f"must have 1 to {KEY_MAX} printable ASCII characters and no blank"})
        self._forget()
        kept = self._kept.get((call.by, key))
        if kept is None:
            self._kept[call.by, key] = Kept(_print(route, call), self._now_s() + KEPT_S)
            return None
        if kept.request != _print(route, call):
            raise BadParameters({HEADER: "was used for another request"}, help="choose a new key for a new request")
        if kept.answer is None:
            raise Conflict("this request is being worked on", help="ask again in a moment")
        return replace(kept.answer, headers={**kept.answer.headers, "Idempotent-Replayed": "true"})

    def end(self, call: Call, key: str, answer: Answer | None) -> None:
        """With its answer, or None when it failed."""
        if answer is None or answer.status >= 300:
            self._kept.pop((call.by, key), None)
        elif kept := self._kept.get((call.by, key)):
            kept.answer = answer

    def _forget(self) -> None:
        now_s = self._now_s()
        while self._kept and (len(self._kept) >= KEPT_MAX or next(iter(self._kept.values())).until_s < now_s):
            self._kept.popitem(last=False)


def _print(route: Route, call: Call) -> bytes:
    said = repr((route.method, route.path, sorted(call.names.items()), sorted(call.args.items(), key=str)))
    return hashlib.sha256(said.encode("utf-8", "surrogateescape")).digest()
