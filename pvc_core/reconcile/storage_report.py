"""What storage drivers tell of all of their storage at once: asked by the primary alone, once per interval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pvc_core.cluster import layout
from pvc_core.errors import Permanent, Refused, Retry
from pvc_core.model.storage import StorageReport
from pvc_core.model.view import ClusterView, Kept
from pvc_core.reconcile.engine import EVERY
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

LOOK_S, CALL_S = 15.0, 30.0
TELLING = ("plugin.", "pool.", "volume.upload", "volume.apply", "volume.flatten")
"""Beginnings of the kinds of tasks after which it is asked at once."""


@dataclass(frozen=True, slots=True)
class StorageReportReconciler:
    """One record per driver that has pools and can report (capability `reports`)."""

    ground: Ground
    kind: str = "storage report"
    _seen: set[str] = field(default_factory=set)
    """Ended tasks that a report has followed."""

    def keys(self, view: ClusterView) -> Iterable[str]:
        if not self.ground.is_primary():
            return ()
        drivers = {kept.value.driver for kept in view.pools.values()}
        return {name for name in drivers if self._reports(name)} | set(view.storage_reports)

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        return EVERY if found and found[0] in (layout.LEADER, layout.POOLS, layout.TASKS) else None

    def step(self, key: str) -> Outcome:
        view = self.ground.view
        if not self.ground.is_primary() or not view.fresh:
            return Outcome("", LOOK_S)
        pools = tuple(kept.value for _name, kept in sorted(view.pools.items()) if kept.value.driver == key)
        old = view.storage_reports.get(key)
        driver = self.ground.storage.get(key)
        if driver is None or not pools or not self._reports(key):
            if old is not None:
                self.ground.repository.drop(layout.STORAGE_REPORTS, key, if_version=None)
            return Outcome("")
        changed = self._changed(view)
        left_s = LOOK_S if old is None else old.value.at_s + LOOK_S - self.ground.clock.wall_s()
        if old is not None and not changed and 0 < left_s <= LOOK_S:
            return Outcome("", left_s)
        try:
            found = self.ground.calls(
                f"report/{key}", "collecting figures", CALL_S, lambda: driver.report(pools, deadline_s=CALL_S)
            )
        except (Permanent, Refused, Retry) as error:
            if old is None:  # its first word is still to come
                return Outcome(f"{key} tells nothing: {error.message}", LOOK_S)
            found = replace(old.value, silent=error.message)
        else:
            found = self._with_old_figures(found, old)
        if old is None or found != old.value:
            self.ground.repository.save(layout.STORAGE_REPORTS, key, found, old)
        self._seen.update(changed)
        return Outcome(f"{key} tells nothing new: {found.silent}" if found.silent else "", LOOK_S)

    def _with_old_figures(self, found: StorageReport, old: Kept[StorageReport] | None) -> StorageReport:
        """What a driver cannot count just now (it says why in `silent`) stays as it was counted last."""
        if not found.silent or old is None:
            return replace(found, at_s=self.ground.clock.wall_s())
        last = old.value
        return replace(
            found, utilization=found.utilization or last.utilization, pools=last.pools, volumes=last.volumes,
            usage=last.usage, osds=found.osds or last.osds, at_s=last.at_s,
        )  # fmt: skip

    def note(self, key: str, outcome: Outcome) -> None:
        """Shown by the record itself."""

    def _changed(self, view: ClusterView) -> set[str]:
        """Tasks that may have changed what was reported: who asked for one shall see its effect at once."""
        ended = {id for id, kept in view.tasks.items() if kept.value.ended and kept.value.kind.startswith(TELLING)}
        self._seen.intersection_update(view.tasks)
        return ended - self._seen

    def _reports(self, name: str) -> bool:
        plugin = self.ground.plugins.get(name)
        return plugin is not None and plugin.storage is not None and plugin.storage.capabilities.reports
