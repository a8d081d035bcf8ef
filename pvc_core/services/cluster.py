"""The cluster as a whole: its name, its primary, maintenance."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Add, Set
from pvc_core.errors import Invalid
from pvc_core.model.cluster import Settings
from pvc_core.services.desk import Desk
from pvc_core.units import format_duration

MAINTENANCE_MAX_S = 30 * 86_400.0


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
    def settings(self) -> Settings:
        kept = self.desk.view.settings.get(layout.ONLY)
        return kept.value if kept else Settings()

    @property
    def maintenance_sentence(self) -> str:
        """ "" when it is off. What is left is right to a minute (reconcile/maintenance.py)."""
        now = self.settings
        if not now.maintenance:
            return ""
        since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now.maintenance_since_s))
        end = (
            f"ends by itself in about {format_duration(now.maintenance_left_s)}"
            if now.maintenance_left_s
            else "until it is switched off"
        )
        why = f" ({now.maintenance_reason})" if now.maintenance_reason else ""
        return f"the cluster is in maintenance since {since}, asked for by {now.asked_by or 'nobody'}{why}; {end}"

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

    def set_maintenance(self, on: bool, *, by: str, for_s: float | None = None, reason: str = "") -> None:
        """`for_s`: it ends by itself after so long. Asked again while it is on, the new request counts alone.

        Raises Invalid, Refused.
        """
        if for_s is not None and not (on and 1.0 <= for_s <= MAINTENANCE_MAX_S):
            raise Invalid(
                "maintenance can end by itself after 1 second to 30 days, and only when it is switched on",
                fields={"for": "a length like 30m, 2h or 1d"},
            )
        kept = self.desk.view.settings.get(layout.ONLY)
        new = replace(
            kept.value if kept else Settings(),
            maintenance=on,
            maintenance_asked=(kept.value.maintenance_asked if kept else 0) + 1,
            maintenance_left_s=for_s or 0.0,
            maintenance_since_s=self.desk.clock.wall_s(),
            maintenance_reason=reason,
            asked_by=by,
        )
        if kept is None:
            self.desk.commit(Add(layout.SETTINGS, layout.ONLY, new))
        else:
            self.desk.commit(Set(layout.SETTINGS, layout.ONLY, new, kept.version))
