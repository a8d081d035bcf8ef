"""Which hooks of which plugins fail just now: told once when it begins and once when it ends, and shown in health."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pvc_core.clock import Clock
from pvc_core.model.node import HealthSeen

DELTA = 10
"""Points of health that a plugin with failing hooks costs its node, however many of them fail."""

Report = Callable[[str, int, str], None]
"""report(plugin, delta, sentence): a plugin's hooks began to fail (delta > 0) or all work again (0)."""


class Troubles:
    """Safe to use from any thread."""

    def __init__(self, clock: Clock, log: Any, report: Report | None) -> None:
        self._clock = clock
        self._log = log
        self._report = report or (lambda plugin, delta, sentence: None)
        self._lock = threading.Lock()
        self._open: dict[str, dict[str, HealthSeen]] = {}

    def failed(self, plugin: str, hook: str, reason: str) -> None:
        """`hook` of `plugin` failed, for `reason`."""
        with self._lock:
            hooks = self._open.setdefault(plugin, {})
            begins = hook not in hooks
            at_s = self._clock.wall_s() if begins else hooks[hook].at_s
            hooks[hook] = HealthSeen(plugin=plugin, delta=DELTA, message=f"hook {hook}: {reason}", at_s=at_s)
        if begins:
            self._log.warning("hook failed", plugin=plugin, hook=hook, reason=reason)
            self._tell(plugin)

    def worked(self, plugin: str, hook: str) -> None:
        """It did what it should."""
        if plugin not in self._open:
            return
        with self._lock:
            ends = self._open.get(plugin, {}).pop(hook, None)
            if not self._open.get(plugin, True):
                del self._open[plugin]
        if ends:
            self._log.info("hook works again", plugin=plugin, hook=hook)
            self._tell(plugin)

    def health(self) -> tuple[HealthSeen, ...]:
        """One finding per failing hook; at_s is when it began."""
        with self._lock:
            return tuple(seen for hooks in self._open.values() for seen in hooks.values())

    def _tell(self, plugin: str) -> None:
        sentences = [seen.message for seen in self.health() if seen.plugin == plugin]
        self._report(plugin, DELTA if sentences else 0, "; ".join(sentences) or "its hooks work")
