"""Pools: made, shown with what each node says of them, removed with their volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from marshmallow import ValidationError

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Add, Set
from pvc_core.errors import Exists, Invalid, NotFound, Refused
from pvc_core.ids import checked_name
from pvc_core.model.storage import Pool, PoolUsage, StorageReport, Volume, VolumePhase
from pvc_core.model.view import Kept
from pvc_core.schema.allowed import fields_by_key
from pvc_core.services.filters import name_filter
from pvc_core.services.pictures import PoolPicture
from pvc_core.services.volumes import Volumes

HIDDEN = "***"


class Pools(Volumes):
    __slots__ = ()

    def pools(self, limit: str | None = None) -> list[PoolPicture]:
        matches = name_filter(limit)
        return [self._pool_picture(kept.value) for name, kept in sorted(self.desk.view.pools.items()) if matches(name)]

    def pool(self, name: str) -> PoolPicture:
        return self._pool_picture(self._need_pool(name).value)

    def add_pool(
        self,
        name: str,
        *,
        by: str,
        driver: str | None = None,
        options: Mapping[str, str] | None = None,
        pgs: int = 1,
        replcfg: str = "",
        tier: str = "default",
    ) -> PoolPicture:
        """A new pool of `driver` (the default pool's driver if None). Raises Exists, Invalid (driver or an option
        unknown).
        """
        checked_name(name, "pool")
        driver = driver or self.desk.default_pool_driver or next(iter(self.desk.storage), "")
        definitions = self._definitions(driver)
        try:
            definitions.pool_options().load(dict(options or {}))
        except ValidationError as error:
            wrong = {key: " ".join(map(str, value)) for key, value in error.normalized_messages().items()}
            known = ", ".join(sorted(definitions.pool_options().fields)) or "none"
            said = "; ".join(f"{key}: {value}" for key, value in wrong.items())
            raise Invalid(
                f"option of pool {name}: {said}", help=f"options of {driver}: {known}", fields=wrong
            ) from None
        if name in self.desk.view.pools:
            raise Exists(f"a pool called {name!r} exists already", help="choose another name")
        pool = Pool(
            name=name, driver=driver, options=dict(options or {}), pgs=pgs, replcfg=replcfg, tier=tier, asked_by=by
        )
        task = self._task("pool.add", "", {"pool": name}, by, f"making pool {name}")
        self.desk.commit(Add(layout.POOLS, name, pool), Add(layout.TASKS, task.id, task))
        self._done(task)
        return self.pool(name)

    def set_pool_pgs(self, name: str, pgs: int, *, by: str) -> PoolPicture:
        """0 leaves the number to the driver."""
        kept = self._need_pool(name)
        task = self._task("pool.change", "", {"pool": name}, by, f"pool {name}: {pgs} placement groups")
        new = replace(kept.value, pgs=pgs, asked_by=by)
        self.desk.commit(Set(layout.POOLS, name, new, kept.version), Add(layout.TASKS, task.id, task))
        self._done(task)
        return self.pool(name)

    def reports(self) -> list[StorageReport]:
        """What drivers told last of all of their storage."""
        return [kept.value for _name, kept in sorted(self.desk.view.storage_reports.items())]

    def stale(self) -> tuple[float, str] | None:
        """(seconds, why): how old the oldest figures are that a driver could not tell anew; None when all are new."""
        now_s = self.desk.clock.wall_s()
        old = [(max(0.0, now_s - one.at_s), one.silent) for one in self.reports() if one.silent and one.at_s]
        return max(old, default=None)

    def await_report(self, true: Callable[[StorageReport], bool], *, timeout_s: float = 20.0) -> None:
        """Wait until what was done shows; not for ever, because it is done all the same."""
        self.desk.wait_until(
            lambda view: any(true(kept.value) for kept in self.desk.view.storage_reports.values()), timeout_s=timeout_s
        )

    def osds(self, limit: str | None = None) -> list[dict[str, Any]]:
        """Of every driver that has such a thing."""
        matches = name_filter(limit)
        return [osd for report in self.reports() for osd in report.osds if matches(str(osd["id"]))]

    def osd(self, number: str) -> dict[str, Any]:
        found = next((osd for osd in self.osds() if str(osd["id"]) == number), None)
        if found is None:
            known = ", ".join(str(osd["id"]) for osd in self.osds()) or "none"
            raise NotFound(f"there is no OSD {number!r}", help=f"OSDs: {known}")
        return found

    def remove_pool(self, name: str, *, by: str) -> None:
        """Remove the pool, its volumes and their snapshots. Raises Refused, before anything is removed, while a VM
        names or has a volume in it, one is busy, or it holds what is no volume of this cluster.
        """
        self._need_pool(name)
        self._nobody_uses(name)
        volumes = {kept.value.id: kept for kept in self.desk.view.volumes.values() if kept.value.pool == name}
        for kept in volumes.values():
            self._not_busy(kept)
        self._run(self._task("pool.look", "", {"pool": name}, by, f"looking into pool {name}"))
        # What shares another's data goes before it.
        for kept in sorted(volumes.values(), key=lambda one: -len(_ancestors(one.value, volumes))):
            if kept.value.phase is not VolumePhase.CREATING:
                self.remove_volume(name, kept.value.name, by=by)
        self._run(self._task("pool.remove", "", {"pool": name}, by, f"removing pool {name}"))

    def _nobody_uses(self, name: str) -> None:
        """By definitions, also of volumes that are not there (yet), and by what running guests were given besides."""
        using = self._users_by_volume()
        for kept in self.desk.view.claims.values():
            vm = self.desk.view.vm_wanted.get(kept.value.uuid)
            for ref in kept.value.volumes:
                using.setdefault(ref, []).append(vm.value.name if vm else kept.value.uuid)
        for ref, names in sorted(using.items()):
            if ref.partition("/")[0] == name:
                raise Refused(
                    f"pool {name} cannot be removed: volume {ref} is used by VM {', '.join(sorted(set(names)))}",
                    help="remove the VM's disk first; nothing was removed",
                )

    def _pool_picture(self, pool: Pool) -> PoolPicture:
        seen = [kept.value for kept in self.desk.view.storage_seen.values()]
        count = sum(
            kept.value.pool == pool.name and kept.value.phase is VolumePhase.READY
            for kept in self.desk.view.volumes.values()
        )
        faults = [f"{item.node}: {item.faults[pool.name]}" for item in seen if pool.name in item.faults]
        shared = self._shared(pool)
        doubt = self._doubt(pool) if shared and len(self.desk.view.node_seen) > 1 else ""
        return PoolPicture(
            pool=self._without_secrets(pool), usage=self._usage(pool, seen), volume_count=count, shared=shared,
            fault="; ".join([*faults, *([doubt] if doubt else [])]),
            counters=next((one.pools[pool.name] for one in self.reports() if pool.name in one.pools), {}),
        )  # fmt: skip

    def _without_secrets(self, pool: Pool) -> Pool:
        """Who may look at pools need not know what its driver's schema marks as secret."""
        fields = fields_by_key(self._definitions(pool.driver).pool_options())
        hidden = {key for key in pool.options if key in fields and fields[key].metadata.get("secret")}
        if not hidden:
            return pool
        return replace(pool, options={key: HIDDEN if key in hidden else value for key, value in pool.options.items()})

    def _usage(self, pool: Pool, seen: list[Any]) -> PoolUsage | None:
        """Of a shared pool any node's figures, else the sum over the nodes."""
        reported = self._reported_usage(pool.name)
        usages = [reported] if reported else [item.pools[pool.name] for item in seen if pool.name in item.pools]
        if not usages or self._shared(pool):
            return usages[0] if usages else None
        return PoolUsage(
            total_bytes=sum(usage.total_bytes for usage in usages),
            used_bytes=sum(usage.used_bytes for usage in usages),
            free_bytes=sum(usage.free_bytes for usage in usages),
            stored_bytes=sum(usage.stored_bytes for usage in usages),
        )


def _ancestors(volume: Volume, volumes: Mapping[str, Kept[Volume]]) -> list[str]:
    """Ids of those whose data it shares."""
    found: list[str] = []
    while volume.parent in volumes and volume.parent not in found:
        found.append(volume.parent)
        volume = volumes[volume.parent].value
    return found
