"""What is known of pools and volumes, and what speaks against touching one. What is then done: storage_tasks.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pvc_core.cluster.layout import volume_id
from pvc_core.contracts.storage import StorageDefinitions
from pvc_core.errors import Exists, Invalid, NotFound, Refused
from pvc_core.model.storage import Pool, PoolUsage, Snapshot, Volume, VolumePhase
from pvc_core.model.view import Kept
from pvc_core.services.desk import Desk
from pvc_core.services.tasks import TaskService
from pvc_core.services.vm_checks import users
from pvc_core.units import format_size

SAFE_SHARE = 0.8
"""A pool is not filled beyond this without `force`: with copies, a full pool stops every guest at once."""


@dataclass(frozen=True, slots=True)
class Known:
    desk: Desk
    tasks: TaskService

    def _need_pool(self, name: str) -> Kept[Pool]:
        kept = self.desk.view.pools.get(name)
        if kept is None:
            known = ", ".join(sorted(self.desk.view.pools)) or "none yet"
            raise NotFound(f"there is no pool {name!r}", help=f"pools: {known}")
        return kept

    def _need_volume(self, pool: str, name: str) -> Kept[Volume]:
        self._need_pool(pool)
        kept = self.desk.view.volumes.get(volume_id(pool, name))
        if kept is None or kept.value.phase is VolumePhase.CREATING:
            raise NotFound(f"there is no volume {pool}/{name}", help="`pvc storage volume list` shows those there are")
        return kept

    def _need_snapshot(self, volume: Volume, name: str) -> Snapshot:
        for snapshot in volume.snapshots:
            if snapshot.name == name:
                return snapshot
        known = ", ".join(snapshot.name for snapshot in volume.snapshots) or "none"
        raise NotFound(f"volume {volume.ref} has no snapshot {name!r}", help=f"its snapshots: {known}")

    def _idle(self, kept: Kept[Volume]) -> Kept[Volume]:
        if kept.value.phase is VolumePhase.REMOVING:
            raise Refused(
                f"volume {kept.value.ref} is being removed, so nothing else can be done with it",
                help="if that failed, remove it again",
            )
        return self._not_busy(kept)

    def _not_busy(self, kept: Kept[Volume]) -> Kept[Volume]:
        task = self.desk.busy_with(kept.value)
        if task is not None:
            raise Refused(f"volume {kept.value.ref} is busy: {task.status}", help=f"wait for task {task.id}")
        return kept

    def _unused(self, kept: Kept[Volume], verb: str) -> Kept[Volume]:
        using = [vm.name for vm in users(self.desk, kept.value.ref)]
        if using:
            raise Refused(
                f"volume {kept.value.ref} is used by VM {', '.join(using)}, so it cannot be {verb}",
                help="remove the VM's disk first",
            )
        return kept

    def _users_by_volume(self) -> dict[str, list[str]]:
        result: dict[str, list[str]] = {}
        for kept in self.desk.view.vm_wanted.values():
            for ref in self.desk.descriptions.of(kept.value).volumes:
                result.setdefault(ref, []).append(kept.value.name)
        return result

    def _definitions(self, driver: str) -> StorageDefinitions:
        found = self.desk.storage.get(driver)
        if found is None:
            known = ", ".join(sorted(self.desk.storage)) or "none"
            raise Invalid(
                f"there is no storage driver {driver!r}", help=f"loaded: {known}", fields={"driver": "not loaded"}
            )
        return found

    def _capabilities(self, pool: str) -> Any:
        return self._definitions(self._need_pool(pool).value.driver).capabilities

    def _able(self, pool: str, capability: str) -> None:
        if not getattr(self._capabilities(pool), capability):
            driver = self._need_pool(pool).value.driver
            raise Refused(
                f"pool {pool} cannot do that: its driver {driver} lacks the capability {capability!r}",
                help="use a pool of another driver",
            )

    def _shared(self, pool: Pool) -> bool:
        definitions = self._definitions(pool.driver)
        return definitions.shared(definitions.pool_options().load(dict(pool.options)))

    def _doubt(self, pool: Pool) -> str:
        """Why a pool that its options call shared is not believed to be; "" when every node has seen all marks."""
        sure = {node for node, kept in self.desk.view.storage_seen.items() if kept.value.shared.get(pool.name)}
        doubtful = ", ".join(sorted(self.desk.view.node_seen.keys() - sure))
        why = f"pool {pool.name} is said to be shared, but {doubtful} has not seen the others' marks"
        return why if doubtful else ""

    def _check_absent(self, pool: str, name: str) -> None:
        kept = self.desk.view.volumes.get(volume_id(pool, name))
        if kept is not None and kept.value.phase is VolumePhase.REMOVING:
            raise Exists(
                f"volume {pool}/{name} is still being removed", help="if that failed, remove it again; or choose a name"
            )
        if kept is not None:
            raise Exists(f"a volume {pool}/{name} exists already", help="choose another name")

    def _room(self, pool: str) -> PoolUsage | None:
        """As the driver reported it, else on the node that has the most."""
        reported = self._reported_usage(pool)
        usages = [kept.value.pools[pool] for kept in self.desk.view.storage_seen.values() if pool in kept.value.pools]
        return reported or max(usages, key=lambda usage: usage.free_bytes, default=None)

    def _reported_usage(self, pool: str) -> PoolUsage | None:
        found = (kept.value.usage.get(pool) for kept in self.desk.view.storage_reports.values())
        return next((one for one in found if one is not None), None)

    def _check_room(self, pool: str, more_bytes: int, force: bool) -> None:
        best = self._room(pool)
        if best is None:
            return
        if more_bytes > best.total_bytes or (more_bytes > best.free_bytes and not force):
            raise Refused(
                f"pool {pool} has {format_size(best.free_bytes)} free of {format_size(best.total_bytes)}; "
                f"{format_size(more_bytes)} do not fit",
                help="choose a smaller size, or another pool",
            )
        if not force and best.used_bytes + more_bytes > SAFE_SHARE * best.total_bytes:
            raise Refused(
                f"with {format_size(more_bytes)} more, pool {pool} could be filled beyond {SAFE_SHARE:.0%} "
                f"of {format_size(best.total_bytes)}",
                help="use `force` if you know that it will not be",
            )
