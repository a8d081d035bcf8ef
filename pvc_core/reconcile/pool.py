"""Pools on this node: make each usable here, and say how full it is. One record per node for all of them.

Where a driver reports on all of its storage (storage_report.py), that says how full pools are: nobody measures again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import cast

from pvc_core.cluster import layout
from pvc_core.errors import Permanent, Refused
from pvc_core.model.storage import Pool, PoolUsage, StorageSeen
from pvc_core.model.view import ClusterView
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

LOOK_S, CALL_S = 15.0, 30.0


@dataclass(frozen=True, slots=True)
class PoolReconciler:
    ground: Ground
    kind: str = "pool"
    _usage: dict[str, PoolUsage] = field(default_factory=dict)
    _faults: dict[str, str] = field(default_factory=dict)
    _shared: dict[str, bool] = field(default_factory=dict)

    def keys(self, view: ClusterView) -> Iterable[str]:
        return {*view.pools, *self._usage, *self._faults}

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        if found and found[0] is layout.VOLUMES:
            return found[1].partition("@")[0]
        return found[1] if found and found[0] is layout.POOLS else None

    def step(self, key: str) -> Outcome:
        kept = self.ground.view.pools.get(key)
        if kept is None:
            self._forget(key)
            return Outcome("")
        if self._is_removed(key):
            return Outcome(f"pool {key} is being removed", LOOK_S)
        pool = kept.value
        try:
            driver = self.ground.driver(pool)
            self.ground.calls(
                f"pool/{key}", "preparing the pool", CALL_S, lambda: driver.ensure_pool(pool, deadline_s=CALL_S)
            )
            self._usage[key] = self._reported(pool) or self.ground.calls(
                f"pool/{key}", "measuring the pool", CALL_S, lambda: driver.pool_usage(pool, deadline_s=CALL_S)
            )
            self._shared[key] = self._is_shared(pool) and self.ground.calls(
                f"pool/{key}",
                "looking for the others' marks",
                CALL_S,
                lambda: driver.sees_peers(pool, deadline_s=CALL_S),
            )
            self._faults.pop(key, None)
        except (Permanent, Refused) as error:
            self._usage.pop(key, None)
            self._faults[key] = str(error)
        self._tell()
        return Outcome(self._faults.get(key, "usable"), LOOK_S)

    def note(self, key: str, outcome: Outcome) -> None:
        """Shown in StorageSeen."""

    def _reported(self, pool: Pool) -> PoolUsage | None:
        """What the primary was told of all pools at once: no node measures that again. Only coordinators have it in
        their picture; the others read it.
        """
        storage = self.ground.plugins[pool.driver].storage
        if storage is None or not storage.capabilities.reports:
            return None
        seen = self.ground.view.storage_reports.get(pool.driver)
        kept = seen or self.ground.repository.find(layout.STORAGE_REPORTS, pool.driver)
        return kept.value.usage.get(pool.name) if kept is not None else None

    def _is_shared(self, pool: Pool) -> bool:
        storage = self.ground.plugins[pool.driver].storage
        if storage is None:
            return False
        options = cast(dict[str, object], storage.pool_options().load(dict(pool.options)))
        return storage.shared(options)

    def _is_removed(self, name: str) -> bool:
        """A pool whose removal is under way is not made again."""
        tasks = (kept.value for kept in self.ground.view.tasks.values())
        return any(task.kind == "pool.remove" and not task.ended and task.args.get("pool") == name for task in tasks)

    def _forget(self, key: str) -> None:
        self._shared.pop(key, None)
        usage, fault = self._usage.pop(key, None), self._faults.pop(key, None)
        if usage is not None or fault is not None:
            self._tell()

    def _tell(self) -> None:
        old = self.ground.view.storage_seen.get(self.ground.node)
        new = StorageSeen(
            node=self.ground.node, pools=dict(self._usage), faults=dict(self._faults), shared=dict(self._shared)
        )
        if old is None or _rounded(old.value) != _rounded(new):
            self.ground.repository.save(layout.STORAGE_SEEN, self.ground.node, new, old)
            self.ground.keeper.settle([layout.STORAGE_SEEN.key(self.ground.node)], inline=self.ground.inline)


def _rounded(seen: StorageSeen) -> StorageSeen:
    """Changes below a thousandth of the pool are not worth a write."""

    def coarse(usage: PoolUsage) -> PoolUsage:
        step = max(1, usage.total_bytes // 1000)
        return replace(
            usage,
            used_bytes=usage.used_bytes // step,
            free_bytes=usage.free_bytes // step,
            stored_bytes=usage.stored_bytes // step,
        )

    return replace(seen, pools={name: coarse(usage) for name, usage in seen.pools.items()})
