"""The floating addresses: here while this node may act as primary, and at no other time.

Who is primary is cluster/leadership.py's, how an address is given is hostnet/floating.py's. When this daemon is stopped
or too slow, the guard takes them back (guard/floating.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pvc_core.cluster import layout
from pvc_core.hostnet.floating import Floating, Raised
from pvc_core.model.node import HealthSeen
from pvc_core.model.view import ClusterView
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

PENDING_AGAIN_S, ANNOUNCE_AGAIN_S, FAULT_AGAIN_S, LOOK_S = 0.25, 1.0, 2.0, 4.0
FAULT_DELTA = 25


@dataclass(frozen=True, slots=True)
class PrimaryReconciler:
    ground: Ground
    floating: Floating
    kind: str = "primary"
    _faults: list[str] = field(default_factory=list)

    def keys(self, view: ClusterView) -> Iterable[str]:
        return (self.ground.node,)

    def concerned(self, store_key: str) -> str | None:
        return self.ground.node if store_key == layout.LEADER.key(layout.ONLY) else None

    def step(self, key: str) -> Outcome:
        if not self.ground.is_primary():
            return self._leave()
        if self.ground.leadership is None:
            self.floating.extend(None)
        raised = self.floating.ensure(self.ground.is_primary)
        self._faults[:] = raised.faults
        if not self.ground.is_primary():  # it ended meanwhile
            self.floating.lower()
        return Outcome(_sentence(key, raised), _again_s(raised))

    def note(self, key: str, outcome: Outcome) -> None:
        """Faults are shown in the node's health."""

    def health(self) -> Sequence[HealthSeen]:
        return [HealthSeen(plugin="primary", delta=FAULT_DELTA, message=fault) for fault in self._faults]

    def _leave(self) -> Outcome:
        """What an earlier life of this daemon held may stay until that life's lease ends: it may be primary again."""
        self._faults.clear()
        left_s = self._earlier_life_s()
        if left_s > 0:
            return Outcome("", left_s)
        self.floating.lower()
        return Outcome("")

    def _earlier_life_s(self) -> float:
        held, leadership = self.floating.held, self.ground.leadership
        if not held.addresses or (leadership is not None and leadership.led):
            return 0.0
        if held.until_boottime_s is None:  # the only coordinator's: nobody else can have them
            return LOOK_S if leadership is None else 0.0
        return held.until_boottime_s - self.ground.clock.boottime_s()


def _sentence(node: str, raised: Raised) -> str:
    parts = [f"holds {', '.join(raised.held)}"] if raised.held else []
    parts += [f"takes {', '.join(raised.pending)}"] if raised.pending else []
    parts += list(raised.faults)
    return f"node {node} is primary" + (f": {'; '.join(parts)}" if parts else "")


def _again_s(raised: Raised) -> float:
    if raised.pending:
        return PENDING_AGAIN_S
    if raised.announcing:
        return ANNOUNCE_AGAIN_S
    return FAULT_AGAIN_S if raised.faults else LOOK_S
