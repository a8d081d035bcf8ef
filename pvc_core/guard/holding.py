"""A node that has lost the store asks the coordinators for promises: while a majority has none either, nobody can give
this node up, and its guests go on (safety A9).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pvc_core.clock import Clock
from pvc_core.daemon.once import Once
from pvc_core.guard.asking import Asker
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.neighbours import Neighbours
from pvc_core.guard.promises import Promises
from pvc_core.model.verdict import life_id

_WAIT_S = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """`asker` may have no key yet (None): then nobody is asked. `silent_s` is 2h, `every_s` h."""

    node: str
    incarnation: str
    coordinators: Sequence[str]
    deadline: Deadline
    promises: Promises
    neighbours: Neighbours
    asker: Callable[[], Asker | None]
    clock: Clock
    once: Once
    silent_s: float
    every_s: float

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(self.every_s / 2):
            self.turn()

    def turn(self) -> None:
        """Ask if it is needed now. Raises nothing."""
        if self.needed():
            self.step()
        else:
            self.once.end("hold", "the store hears this node again: no promise is needed")

    def needed(self) -> bool:
        """Unheard for a while, and not too late."""
        sent_s, now_s = self.deadline.last_sent_s, self.clock.boottime_s()
        silent = sent_s is not None and now_s - sent_s > self.silent_s
        return silent and self.deadline.armed and not self.deadline.has_passed(now_s)

    def step(self) -> bool:
        """One round of questions; whether a majority promised. Raises nothing."""
        sent_s = self.clock.boottime_s()
        promised = self._asked()
        if self.node in self.coordinators:
            promised[self.node] = self.promises.ask(life_id(self.node, self.incarnation))
        given = sorted((seconds for seconds in promised.values() if seconds > 0), reverse=True)
        majority = len(self.coordinators) // 2 + 1
        if len(given) < majority:
            return False
        self.deadline.prolong(sent_s + given[majority - 1], self.clock.boottime_s())
        self.once.begin("hold", f"the store is silent for {len(given)} coordinators too: the guests here go on")
        return True

    def _asked(self) -> dict[str, float]:
        asker = self.asker()
        known = self.neighbours.addresses()
        others = {name: known[name] for name in self.coordinators if name != self.node and name in known}
        if asker is None or not others:
            return {}
        try:
            heard = asker.ask("promise", others, wait_s=_WAIT_S, incarnation=self.incarnation)
        except OSError as error:
            self.once.begin("hold-ask", "the coordinators cannot be asked for promises", error=error)
            return {}
        self.once.end("hold-ask", "the coordinators can be asked for promises again")
        promised: dict[str, float] = {}
        for one in heard:
            seconds = one.answer.promised_s
            promised[one.answer.node] = min(seconds, promised.get(one.answer.node, seconds))
        return promised
