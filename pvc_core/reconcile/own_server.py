"""Whether the store's server on this coordinator serves: the others serve on without it, so that nobody would notice
before the next one fails. Only looks; it is systemd's to start (deploy/pvc-zookeeper.service), a person's to mend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pvc_core.model.node import HealthSeen
from pvc_core.model.view import ClusterView
from pvc_core.reconcile.outcome import Outcome

LOOK_S, AGAIN_S = 15.0, 5.0
MISSES = 3
"""A server that is restarted, or whose ensemble elects, is silent for some seconds."""
FAULT_DELTA = 25


@dataclass(frozen=True, slots=True)
class OwnServerReconciler:
    """`ask` says what the server answers: {"mode"}, or {"error"}. Asks no store."""

    node: str
    ask: Callable[[], Mapping[str, str]]
    kind: str = "store server"
    _misses: list[str] = field(default_factory=list)

    def keys(self, view: ClusterView) -> Iterable[str]:
        return (self.node,)

    def concerned(self, store_key: str) -> str | None:
        return None

    def step(self, key: str) -> Outcome:
        why = self.ask().get("error", "")
        if not why:
            self._misses.clear()
            return Outcome("", LOOK_S)
        self._misses.append(why)
        del self._misses[:-MISSES]
        return Outcome(self._fault() if len(self._misses) == MISSES else "", AGAIN_S)

    def note(self, key: str, outcome: Outcome) -> None:
        """It is shown in the node's health."""

    def health(self) -> Sequence[HealthSeen]:
        return [HealthSeen(plugin="store", delta=FAULT_DELTA, message=self._fault())] if self._down() else []

    def _down(self) -> bool:
        return len(self._misses) == MISSES

    def _fault(self) -> str:
        return (
            f"the ZooKeeper server of {self.node} does not serve ({self._misses[-1]}): the cluster can lose one server "
            f"less; `systemctl status pvc-zookeeper` there, and `pvc cluster check`"
        )
