"""Counters of guests, one record per node and interval; told, never decided on. The node's own are in the heartbeat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from pvc_core.cluster import layout
from pvc_core.errors import NotFound
from pvc_core.model.node import NodeStats
from pvc_core.model.view import ClusterView
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

INTERVAL_S, CALL_S = 5.0, 4.0


@dataclass(slots=True)
class StatsReconciler:
    """Writes without reading the store: its record has no other writer."""

    ground: Ground
    kind: str = "stats"
    _there: bool = False
    _empty: bool = False
    """The record says that no guest runs here, and need not say it again."""

    def keys(self, view: ClusterView) -> Iterable[str]:
        return (self.ground.node,)

    def concerned(self, store_key: str) -> str | None:
        return None

    def step(self, key: str) -> Outcome:
        guests = self.ground.calls(
            "stats", "reading statistics", CALL_S, lambda: self.ground.compute.stats(deadline_s=CALL_S)
        )
        if self._empty and not guests:
            return Outcome("", INTERVAL_S)
        record = NodeStats(
            node=key,
            at_s=self.ground.clock.wall_s(),
            guests={guest.uuid: asdict(guest) for guest in guests},
        )
        try:
            if not self._there:
                raise NotFound("not written by this daemon yet")
            self.ground.repository.set(layout.STATS, key, record, if_version=None)
        except NotFound:
            self.ground.repository.save(layout.STATS, key, record, self.ground.repository.find(layout.STATS, key))
        self._there, self._empty = True, not guests
        return Outcome("", INTERVAL_S)

    def note(self, key: str, outcome: Outcome) -> None:
        """Nothing to show."""
