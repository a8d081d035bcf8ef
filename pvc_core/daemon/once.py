"""The same failure is told once when it begins and once when it ends."""

from __future__ import annotations

import logging
import threading

from pvc_core.clock import Clock
from pvc_core.daemon.lines import FIELDS


class Once:
    """Remembers which failures have been told, by a key of the caller's. Safe from any thread."""

    def __init__(self, log: logging.Logger, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._since: dict[str, float] = {}

    def begin(
        self,
        key: str,
        message: str,
        *,
        level: int = logging.WARNING,
        error: BaseException | None = None,
        **fields: object,
    ) -> bool:
        """Tell `message`, unless `key` has begun already; returns whether it was told.

        `error` adds what was raised and where.
        """
        with self._lock:
            if key in self._since:
                return False
            self._since[key] = self._clock.boottime_s()
        self._log.log(level, "%s", message, exc_info=error, extra={FIELDS: fields})
        return True

    def end(self, key: str, message: str, **fields: object) -> bool:
        """Tell `message` and how long it took, if `key` had begun; returns whether it had."""
        if key not in self._since:  # nearly always, several times a second
            return False
        with self._lock:
            since_s = self._since.pop(key, None)
        if since_s is None:
            return False
        lasted = {"after_s": f"{self._clock.boottime_s() - since_s:.1f}"}
        self._log.info("%s", message, extra={FIELDS: fields | lasted})
        return True

    def has_begun(self, key: str) -> bool:
        return key in self._since
