"""One call into a plugin, kept apart: what it raises is an answer, and nobody waits for it for ever.

A call that is late goes on in its thread (Python cannot end it); its plugin is not asked again before it has come back.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from pvc_core.clock import Clock

QUEUE_MAX = 1000
"""Notifications that wait for one plugin; more than that are dropped and shown in health."""

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one call."""

    value: object = None
    error: BaseException | None = None
    late_s: float | None = None
    """It had not come back after this many seconds."""


def inline(call: Call) -> Answer:
    """Call here and now. Only Ctrl-C gets out, which Python raises on the main thread, meant for the whole process."""
    try:
        return Answer(value=call())
    except BaseException as error:  # whatever a stranger raises is its answer
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise
        return Answer(error=error)  # a stranger's SystemExit must not end the daemon either


class Asking:
    """Asks several plugins at once and waits for all, no longer than the limit."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._away: dict[str, float] = {}
        """Since when (boottime) a plugin's late call has been running."""

    def ask(self, calls: dict[str, Call], limit_s: float) -> dict[str, Answer]:
        """By plugin."""
        until_s = self._clock.boottime_s() + limit_s
        waiting = {plugin: self._begin(plugin, call) for plugin, call in calls.items() if plugin not in self._away}
        answers = {}
        for plugin in calls:
            if plugin in waiting:
                answers[plugin] = self._end(plugin, waiting[plugin], until_s, limit_s)
            else:
                answers[plugin] = Answer(late_s=self._late_s(plugin))
        return answers

    def ask_inline(self, calls: dict[str, Call], limit_s: float) -> dict[str, Answer]:
        """One after the other, without threads; late is what let the clock go on for longer."""
        answers = {}
        for plugin, call in calls.items():
            began_s = self._clock.boottime_s()
            answer = inline(call)
            took_s = self._clock.boottime_s() - began_s
            answers[plugin] = answer if took_s <= limit_s else Answer(late_s=took_s)
        return answers

    def _begin(self, plugin: str, call: Call) -> _Pending:
        pending = _Pending(call)
        threading.Thread(target=self._run, args=(plugin, pending), name=f"ask-{plugin}", daemon=True).start()
        return pending

    def _run(self, plugin: str, pending: _Pending) -> None:
        pending.run()
        with self._lock:
            if pending.abandoned:
                self._away.pop(plugin, None)

    def _end(self, plugin: str, pending: _Pending, until_s: float, limit_s: float) -> Answer:
        if pending.done.wait(max(0.0, until_s - self._clock.boottime_s())) and pending.answer:
            return pending.answer
        with self._lock:
            if pending.answer:
                return pending.answer
            pending.abandoned = True
            self._away[plugin] = until_s - limit_s
        return Answer(late_s=limit_s)

    def _late_s(self, plugin: str) -> float:
        now_s = self._clock.boottime_s()
        return now_s - self._away.get(plugin, now_s)


class _Pending:
    def __init__(self, call: Call) -> None:
        self._call = call
        self.done = threading.Event()
        self.answer: Answer | None = None
        self.abandoned = False

    def run(self) -> None:
        self.answer = inline(self._call)
        self.done.set()


class Lane:
    """One plugin's notifications, in order, on a thread of its own, so that one that hangs delays no other's."""

    def __init__(self, plugin: str, clock: Clock) -> None:
        self.plugin = plugin
        self.dropped = 0
        self._clock = clock
        self._queue: queue.Queue[tuple[str, Callable[[], None]] | None] = queue.Queue(QUEUE_MAX)
        self._thread: threading.Thread | None = None
        self._now: tuple[str, float] | None = None

    def put(self, what: str, call: Callable[[], None]) -> bool:
        """Queue a call that isolates itself; False if the queue is full. Returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"notify-{self.plugin}", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait((what, call))
        except queue.Full:
            self.dropped += 1
            return False
        return True

    def running(self) -> tuple[str, float] | None:
        """(what, for how many seconds) of the call that is out in the plugin now."""
        now = self._now
        return (now[0], self._clock.boottime_s() - now[1]) if now else None

    def close(self, deadline_s: float) -> bool:
        """Let what waits be told, then end; False if the plugin held it up for longer than the deadline."""
        if self._thread is None:
            return True
        try:
            self._queue.put(None, timeout=deadline_s)
        except queue.Full:
            return False
        self._thread.join(deadline_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            what, call = item
            self._now = (what, self._clock.boottime_s())
            call()
            self._now = None
