"""The cluster as a whole: its name, its primary, maintenance."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Add, Set
from pvc_core.model.cluster import Settings
from pvc_core.services.desk import Desk


@dataclass(frozen=True, slots=True)
class ClusterService:
    desk: Desk
    name: str
    upstream_floating: str

    @property
    def primary(self) -> str:
        """ "" when no node holds the lease."""
        return self.desk.view.primary

    @property
    def maintenance(self) -> bool:
        return self.desk.view.maintenance

    @property
    def fresh(self) -> bool:
        """False while the store gives no answer: everything shown is how it was then."""
        return self.stale_s is None

    @property
    def stale_s(self) -> float | None:
        """How old what is shown may be, in seconds, while the store gives no answer; None while it does."""
        return self.desk.keeper.stale_s()

    @property
    def shown(self) -> bool:
        """Whether there is anything to show: the store was read once since this process began."""
        return self.desk.keeper.shown

    def set_maintenance(self, on: bool, *, by: str) -> None:
        kept = self.desk.view.settings.get(layout.ONLY)
        if kept is None:
            self.desk.commit(Add(layout.SETTINGS, layout.ONLY, Settings(maintenance=on, asked_by=by)))
        else:
            self.desk.commit(
                Set(layout.SETTINGS, layout.ONLY, replace(kept.value, maintenance=on, asked_by=by), kept.version)
            )
