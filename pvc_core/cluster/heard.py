"""Which nodes are alive right now, by their heartbeats as this daemon itself saw them move. Good for choosing, not for
condemning.
"""

from __future__ import annotations

from pvc_core.clock import Clock
from pvc_core.model.view import ClusterView

HEARD_S = 3.0


class Heard:
    """Tell it often what the picture shows; a heartbeat that was seen only once may be years old."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moved: dict[str, tuple[int, float | None]] = {}
        """Stamp of the last one seen, and when this daemon saw it come; None: it was there from the beginning."""

    def look(self, view: ClusterView) -> None:
        now = self._clock.boottime_s()
        for name, kept in view.heartbeats.items():
            stamp, _ = self._moved.get(name, (kept.stamp, None))
            if name not in self._moved or stamp != kept.stamp:
                self._moved[name] = (kept.stamp, now if name in self._moved else None)

    def __contains__(self, name: str) -> bool:
        _, moved_s = self._moved.get(name, (0, None))
        return moved_s is not None and self._clock.boottime_s() - moved_s <= HEARD_S
