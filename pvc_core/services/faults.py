"""Faults as operators handle them: looked at, acknowledged, deleted. Who finds them is reconcile/faults.py."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Drop, Set
from pvc_core.errors import NotFound
from pvc_core.model.fault import Fault
from pvc_core.model.view import Kept
from pvc_core.services.desk import Desk


@dataclass(frozen=True, slots=True)
class FaultService:
    desk: Desk

    def list(self) -> list[Fault]:
        """The newest first."""
        found = (kept.value for kept in self.desk.view.faults.values())
        return sorted(found, key=lambda fault: (-fault.first_s, fault.id))

    def get(self, id: str) -> Fault:
        """Raises NotFound."""
        return self._kept(id).value

    def ack(self, id: str) -> None:
        """It weighs nothing any more, as long as it lasts. Raises NotFound, Conflict."""
        kept = self._kept(id)
        new = replace(kept.value, acked_s=kept.value.acked_s or self.desk.clock.wall_s())
        self.desk.commit(Set(layout.FAULTS, kept.value.id, new, kept.version))

    def delete(self, id: str) -> None:
        """It comes back if it is still so. Raises NotFound, Conflict."""
        kept = self._kept(id)
        self.desk.commit(Drop(layout.FAULTS, kept.value.id, kept.version))

    def _kept(self, id: str) -> Kept[Fault]:
        kept = self.desk.view.faults.get(id) or self.desk.view.faults.get(id.upper())
        if kept is None:
            raise NotFound(f"there is no fault {id!r}", help="`pvc cluster fault list` shows those there are")
        return kept
