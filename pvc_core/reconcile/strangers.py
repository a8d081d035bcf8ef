"""Guests that run here and belong to no VM: reported, never touched. Nothing is killed because a list does not
contain it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pvc_core.model.view import ClusterView
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

LOOK_S, CALL_S = 60.0, 10.0


@dataclass(frozen=True, slots=True)
class StrangersReconciler:
    ground: Ground
    kind: str = "strangers"
    names: dict[str, str] = field(default_factory=dict)
    """Of those found at the last look, by UUID."""

    def keys(self, view: ClusterView) -> Iterable[str]:
        return (self.ground.node,)

    def concerned(self, store_key: str) -> str | None:
        return None

    def step(self, key: str) -> Outcome:
        view = self.ground.view
        if not view.fresh:
            return Outcome("", 1.0)
        there = self.ground.calls(
            "list", "listing guests", CALL_S, lambda: self.ground.compute.list_guests(deadline_s=CALL_S)
        )
        known = view.vm_wanted.keys() | {key.rpartition("/")[2] for key in view.unread}
        unknown = {guest.uuid: guest.name or guest.uuid for guest in there if guest.uuid not in known}
        self.names.clear()
        self.names.update(unknown)
        if not unknown:
            return Outcome("", LOOK_S)
        return Outcome(
            f"guests that belong to no VM run here: {', '.join(sorted(unknown.values()))}; they are left alone", LOOK_S
        )

    def note(self, key: str, outcome: Outcome) -> None:
        """Shown in the node's health."""
