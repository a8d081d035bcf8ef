"""Maintenance mode that ends by itself: every coordinator counts down on its own clock, the primary writes the end.

No two machines' clocks are compared: the record says how much is left, written anew about once a minute, and each
daemon counts from when it saw that. A change of the primary, or a daemon that begins anew, costs a minute at most.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set
from pvc_core.model.cluster import Settings
from pvc_core.model.view import ClusterView, Kept
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

NOTE_S = 60.0


@dataclass(frozen=True, slots=True)
class MaintenanceReconciler:
    ground: Ground
    kind: str = "maintenance"
    _ends: dict[int, float] = field(default_factory=dict)
    """By request (Settings.maintenance_asked): when it ends, on this node's own clock. Of the present one only."""

    def keys(self, view: ClusterView) -> Iterable[str]:
        return view.settings.keys()

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        return layout.ONLY if found and found[0] in (layout.SETTINGS, layout.LEADER) else None

    def step(self, key: str) -> Outcome:
        kept = self.ground.view.settings.get(layout.ONLY)
        if kept is None or not kept.value.maintenance or not kept.value.maintenance_left_s:
            self._ends.clear()
            return Outcome("")
        left_s = self._left_s(kept.value)
        if not self.ground.is_primary():
            return Outcome("")
        if left_s <= 0:
            return self._end(kept)
        if kept.value.maintenance_left_s - left_s >= NOTE_S:
            self._write(kept, replace(kept.value, maintenance_left_s=left_s))
        return Outcome("", min(left_s, NOTE_S))

    def note(self, key: str, outcome: Outcome) -> None:
        """Shown by the record itself."""

    def _left_s(self, now: Settings) -> float:
        """Whatever says less counts: the record, or what this daemon has counted itself."""
        clock_s = self.ground.clock.boottime_s()
        asked = now.maintenance_asked
        ends_s = min(self._ends.get(asked, float("inf")), clock_s + now.maintenance_left_s)
        self._ends.clear()
        self._ends[asked] = ends_s
        return ends_s - clock_s

    def _end(self, kept: Kept[Settings]) -> Outcome:
        self._write(kept, replace(kept.value, maintenance=False, maintenance_left_s=0.0))
        return Outcome(f"maintenance, asked for by {kept.value.asked_by or 'nobody'}, has ended by itself")

    def _write(self, kept: Kept[Settings], new: Settings) -> None:
        self.ground.commit(self.ground.lead(), Set(layout.SETTINGS, layout.ONLY, new, kept.version))
