"""The API's events as a bell: whoever waits for something is woken when it changes, instead of asking twice a second.

Only a bell: what is so is asked for as ever, and where events cannot be had (an older API, a proxy that keeps streams
back) asking again and again goes on.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from pvc_cli.api import Api
from pvc_cli.errors import CliError

SURE_S = 10.0
"""With a bell, too, it is looked that often: a bell that stays silent may be broken."""


class Bell:
    """Listens to the events of one kind in a thread and over a connection of its own, from `with` to its end."""

    def __init__(
        self, api: Api, kind: str, id: str, *, told: Callable[[dict[str, Any]], None] = lambda body: None
    ) -> None:
        """`id` is the object's id or name; `told` gets each event's body, in the thread."""
        self._api, self._kind, self._id, self._told = api.beside(), kind, id, told
        self._rang = threading.Event()
        self._broken = threading.Event()
        self._listens = threading.Event()

    def __enter__(self) -> Bell:
        threading.Thread(target=self._listen, daemon=True).start()
        self._listens.wait(1.0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._broken.set()

    def wait(self, poll_s: float, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Until it changed; or `poll_s` when there are no events, or SURE_S when there are."""
        if self._broken.is_set() or not self._listens.is_set():
            sleep(poll_s)
            return
        until_s = time.monotonic() + SURE_S
        while not self._rang.wait(0.1) and not self._broken.is_set() and time.monotonic() < until_s:
            continue
        self._rang.clear()

    def _listen(self) -> None:
        try:
            for name, body in told(self._api.follow("/events", kind=[self._kind]) or iter(())):
                if self._broken.is_set():
                    return
                self._listens.set()
                if name == self._kind and self._id in (body.get("id"), body.get("name")):
                    self._told(body)
                    self._rang.set()
                elif name in ("reset", "cut"):
                    self._rang.set()
        except (CliError, OSError, ValueError):
            pass  # it is asked for as ever
        self._broken.set()
        self._listens.set()


def told(pieces: Iterator[str], mark: Callable[[str], None] = lambda id: None) -> Iterator[tuple[str, dict[str, Any]]]:
    """(event, data) out of a stream of server-sent events; `mark` gets each one's id, to go on after it."""
    rest, fields = "", {}
    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        for one in lines:
            if one and not one.startswith(":"):
                key, _, value = one.partition(": ")
                fields[key] = value
            elif not one and fields:
                mark(fields.get("id", ""))
                yield fields.get("event", ""), json.loads(fields.get("data", "{}"))
                fields = {}
