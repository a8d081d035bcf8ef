"""Standing orders: which wakes are due for a changed key, and the one thread that calls them.

Setting the watches on the server is store.py's.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from functools import partial

from pvc_core.store.base import Wake, Watch
from pvc_core.store.keys import is_at_or_below

_log = logging.getLogger(__name__)


class Dispatcher:
    """Calls wakes one after another in a thread of its own, so that none of them can hold up the connection."""

    def __init__(self) -> None:
        self._due: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-wakes", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], None]) -> None:
        self._due.put(function)

    def stop(self, deadline_s: float) -> None:
        self._due.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(deadline_s)

    def _run(self) -> None:
        while function := self._due.get():
            try:
                function()
            except Exception:  # noqa: BLE001 - a wake is not ours: its fault must not silence the others
                _log.exception("a wake of the store's watches raised")


class StandingWatch(Watch):
    """One wake for one prefix."""

    def __init__(self, prefix: str, wake: Wake, forget: Callable[[StandingWatch], None]) -> None:
        self.prefix = prefix
        self._wake = wake
        self._forget = forget
        self._stopped = False
        self._calling = threading.RLock()

    def due(self, key: str | None) -> None:
        with self._calling:
            if not self._stopped:
                self._wake(key)

    def stop(self) -> None:
        with self._calling:
            self._stopped = True
        self._forget(self)


class WatchTable:
    """Every standing watch by prefix, and for which prefixes the server's watch stands now."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._lock = threading.Lock()
        self._watches: dict[str, list[StandingWatch]] = {}
        self._standing: set[str] = set()

    def add(self, prefix: str, wake: Wake) -> tuple[StandingWatch, bool]:
        """The watch, and whether the server must still be asked. Otherwise its first wake is under way."""
        watch = StandingWatch(prefix, wake, self._remove)
        with self._lock:
            self._watches.setdefault(prefix, []).append(watch)
            standing = prefix in self._standing
        if standing:
            self._dispatcher.call(lambda: watch.due(None))
        return watch, not standing

    def prefixes(self) -> list[str]:
        with self._lock:
            return list(self._watches)

    def fell(self) -> None:
        """The connection went, and the server's watches with it."""
        with self._lock:
            self._standing.clear()

    def stands(self, prefix: str) -> None:
        """The server has set the watch: whatever happened before must be read anew."""
        with self._lock:
            self._standing.add(prefix)
            due = list(self._watches.get(prefix, ()))
        self._wake(due, None)

    def changed(self, key: str) -> None:
        with self._lock:
            due = [
                watch for prefix, watches in self._watches.items() if is_at_or_below(key, prefix) for watch in watches
            ]
        self._wake(due, key)

    def _wake(self, watches: list[StandingWatch], key: str | None) -> None:
        for watch in watches:
            self._dispatcher.call(partial(watch.due, key))

    def _remove(self, watch: StandingWatch) -> None:
        with self._lock:
            left = [other for other in self._watches.get(watch.prefix, ()) if other is not watch]
            if left:
                self._watches[watch.prefix] = left
            else:
                self._watches.pop(watch.prefix, None)  # the server's own watch goes with the connection
