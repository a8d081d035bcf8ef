"""Fencing in peace time: each node puts on record how it can be fenced, and the primary looks whether it could be.

What it finds is this node's health; nobody is fenced here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from pvc_core.cluster import layout
from pvc_core.contracts.fence import FenceDriver
from pvc_core.errors import PvcError, StoreUnavailable
from pvc_core.model.node import HealthSeen
from pvc_core.model.view import ClusterView
from pvc_core.reconcile.engine import EVERY
from pvc_core.reconcile.fencing import target_of
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

LOOK_S, FAULT_AGAIN_S = 60.0, 20.0
CALL_S = 5.0
FAULT_DELTA = 10


@dataclass(frozen=True, slots=True)
class FenceCare:
    """`offered`: every fence driver that is loaded, whether the ladder names it or not."""

    ground: Ground
    offered: Mapping[str, FenceDriver]
    kind: str = "fence"
    _faults: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """(rung, node, what was done) -> what speaks against it."""

    def keys(self, view: ClusterView) -> Iterable[str]:
        return {*view.node_seen, self.ground.node} if self.offered else ()

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        if found and found[0] is layout.LEADER:
            return EVERY
        return found[1] if found and found[0] is layout.NODE_SEEN and self.offered else None

    def step(self, key: str) -> Outcome:
        if not self.ground.view.fresh or not self.offered:
            return Outcome("", 1.0 if self.offered else None)
        if key == self.ground.node:
            for rung, driver in self.offered.items():
                self._try(rung, key, "publish", partial(driver.publish, deadline_s=CALL_S))
        self._look(key)
        bad = any(node == key for _, node, _ in self._faults)
        return Outcome("; ".join(self._sentences(key)), FAULT_AGAIN_S if bad else LOOK_S)

    def note(self, key: str, outcome: Outcome) -> None:
        """Faults are shown in the node's health."""

    def health(self) -> Sequence[HealthSeen]:
        found = [
            HealthSeen(plugin=rung, delta=FAULT_DELTA, message=message)
            for (rung, _, _), message in sorted(self._faults.items())
        ]
        return found + [
            HealthSeen(plugin=rung, delta=FAULT_DELTA, message=f"fencing.ladder does not name {rung}: it fences nobody")
            for rung in sorted(self.offered)
            if rung not in self.ground.fence
        ]

    def _look(self, node: str) -> None:
        """Only the primary, and where there is another node that could be missed; a node that was removed is no more
        looked at.
        """
        known = self.ground.view.node_seen
        looks = node in known and len(known) > 1 and self.ground.is_primary()
        for rung, driver in self.ground.fence.items():
            if looks:
                target = target_of(self.ground.view, node)
                self._try(rung, node, "status", partial(driver.status, target, deadline_s=CALL_S))
            else:
                self._faults.pop((rung, node, "status"), None)

    def _try(self, rung: str, node: str, what: str, call: Callable[[], object]) -> None:
        try:
            self.ground.calls(f"fence-{what}/{rung}/{node}", f"{rung} {what} of node {node}", CALL_S, call)
        except StoreUnavailable:
            return  # it says nothing of how anybody can be fenced; what was known of that stays
        except PvcError as error:
            begin = "could not be fenced" if what == "status" else "cannot say how it can be fenced"
            self._faults[rung, node, what] = f"node {node} {begin}: {error.message}"
        else:
            self._faults.pop((rung, node, what), None)

    def _sentences(self, node: str) -> list[str]:
        return [message for (_, name, _), message in sorted(self._faults.items()) if name == node]
