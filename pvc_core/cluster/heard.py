"""Which nodes are alive right now, by their heartbeats as this daemon itself saw them move. Good for choosing and for
showing, not for condemning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pvc_core.clock import Clock
from pvc_core.model.view import ClusterView

HEARD_S = 3.0
_LATE_S = 3.0
"""Two looks further apart are not consecutive: whoever slept, or had no store, begins to count anew."""


@dataclass(frozen=True, slots=True)
class _Node:
    stamp: int
    since_s: float
    """From when on it is silent, if it is."""
    moved_s: float | None = None
    """When this daemon saw it move; None: it was there from the beginning, and may be years old."""


class Heard:
    """Tell it often what the picture shows; a heartbeat that was seen only once may be years old."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._nodes: dict[str, _Node] = {}
        self._looked_s = clock.boottime_s()

    def look(self, view: ClusterView) -> None:
        now_s = self._clock.boottime_s()
        late = now_s - self._looked_s > _LATE_S
        self._looked_s = now_s
        for name, kept in view.heartbeats.items():
            last = self._nodes.get(name)
            if last is None:
                self._nodes[name] = _Node(kept.stamp, now_s)
            elif last.stamp != kept.stamp:
                self._nodes[name] = _Node(kept.stamp, now_s, now_s)
            elif late:
                self._nodes[name] = replace(last, since_s=now_s)

    def silent_s(self, name: str) -> float:
        """How long its heartbeat has not moved, in consecutive looks; 0 for a node that never had one."""
        found = self._nodes.get(name)
        return self._clock.boottime_s() - found.since_s if found else 0.0

    def __contains__(self, name: str) -> bool:
        found = self._nodes.get(name)
        return found is not None and found.moved_s is not None and self._clock.boottime_s() - found.moved_s <= HEARD_S
