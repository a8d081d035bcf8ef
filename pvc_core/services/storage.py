"""Pools, volumes, snapshots. Whatever takes time or can fail in a driver is a task; these calls wait for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from marshmallow import ValidationError

from pvc_core.cluster import layout
from pvc_core.cluster.layout import volume_id
from pvc_core.cluster.repository import Add, Set, Unchanged, Write
from pvc_core.contracts.storage import StorageDefinitions
from pvc_core.errors import Exists, Invalid, NotFound, PvcError, Refused
from pvc_core.ids import checked_name
from pvc_core.model.node import DaemonState
from pvc_core.model.storage import Pool, PoolUsage, Snapshot, Volume, VolumePhase
from pvc_core.model.task import Task
from pvc_core.model.view import Kept
from pvc_core.services.desk import Desk, Flow
from pvc_core.services.filters import name_filter
from pvc_core.services.pictures import PoolPicture, VolumePicture
from pvc_core.services.tasks import TaskService
from pvc_core.services.vm_checks import users
from pvc_core.units import format_size

SAFE_SHARE = 0.8
"""A pool is not filled beyond this without `force`: with copies, a full pool stops every guest at once."""


@dataclass(frozen=True, slots=True)
class StorageService:
    desk: Desk
    tasks: TaskService

    # -- pools ---------------------------------------------------------------------------------------------------------

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
        kept = self._need_pool(name)
        self.desk.commit(Set(layout.POOLS, name, replace(kept.value, pgs=pgs, asked_by=by), kept.version))
        return self.pool(name)

    def remove_pool(self, name: str, *, by: str) -> None:
        """Remove the pool and its volumes. Raises Refused while any VM names a volume in it."""
        self._need_pool(name)
        for volume in self.volumes(pool=name):
            if volume.users:
                raise Refused(
                    f"volume {volume.volume.ref} is used by VM {', '.join(volume.users)}",
                    help="remove the VM's disk first",
                )
        for kept in [item for item in self.desk.view.volumes.values() if item.value.pool == name]:
            if kept.value.phase is not VolumePhase.CREATING:
                self.remove_volume(name, kept.value.name, by=by)
        self._run(self._task("pool.remove", "", {"pool": name}, by, f"removing pool {name}"))

    # -- volumes -------------------------------------------------------------------------------------------------------

    def volumes(self, *, pool: str | None = None, limit: str | None = None) -> list[VolumePicture]:
        matches = name_filter(limit)
        using = self._users_by_volume()
        found = [
            VolumePicture(volume=kept.value, version=kept.version, users=tuple(using.get(kept.value.ref, ())))
            for kept in self.desk.view.volumes.values()
            if kept.value.phase is VolumePhase.READY and matches(kept.value.name) and pool in (None, kept.value.pool)
        ]
        return sorted(found, key=lambda picture: (picture.volume.pool, picture.volume.name))

    def volume(self, pool: str, name: str) -> VolumePicture:
        kept = self._need_volume(pool, name)
        return VolumePicture(
            volume=kept.value, version=kept.version, users=tuple(vm.name for vm in users(self.desk, kept.value.ref))
        )

    def add_volume(self, pool: str, name: str, size_bytes: int, *, by: str, force: bool = False) -> VolumePicture:
        """A new, empty volume. Returns when it can be used. Raises Exists, NotFound (pool), Refused (no room)."""
        checked_name(name, "volume")
        kept = self._need_pool(pool)
        if size_bytes <= 0:
            raise Invalid(f"a volume of {size_bytes} bytes is too small", fields={"size": "must be greater than 0"})
        self._check_absent(pool, name)
        self._check_room(pool, size_bytes, force)
        volume = self._new_volume(kept.value, name, size_bytes)
        self._create("volume.create", volume, {}, by, f"making volume {volume.ref} of {format_size(size_bytes)}")
        return self.volume(pool, name)

    def clone_volume(self, pool: str, name: str, new_name: str, *, by: str, force: bool = False) -> VolumePicture:
        """A full, independent copy in the same pool."""
        checked_name(new_name, "volume")
        source = self._idle(self._need_volume(pool, name))
        self._able(pool, "clone")
        self._check_absent(pool, new_name)
        self._check_room(pool, source.value.size_bytes, force)
        target = replace(
            self._new_volume(self._need_pool(pool).value, new_name, source.value.size_bytes),
            home=source.value.home,
            format=source.value.format,
        )
        status = f"copying {source.value.ref} to {target.ref}"
        self._create("volume.clone", target, {"source": source.value.name}, by, status, source=source)
        return self.volume(pool, new_name)

    def resize_volume(self, pool: str, name: str, size_bytes: int, *, by: str, force: bool = False) -> VolumePicture:
        """Also while a guest uses it, if the pool's driver can; the guest sees the new size."""
        kept = self._idle(self._need_volume(pool, name))
        grows = size_bytes - kept.value.size_bytes
        if grows < 0 and not (self._capabilities(pool).shrink and force):
            raise Refused(
                f"volume {kept.value.ref} has {format_size(kept.value.size_bytes)}; a smaller one would cut off data",
                help="copy what is needed into a smaller volume"
                if not self._capabilities(pool).shrink
                else "use `force` if nothing of what is cut off is needed",
            )
        if grows > 0:
            self._check_room(pool, grows, force)
        if grows != 0:
            self._work(
                kept,
                "volume.resize",
                {"size_bytes": size_bytes},
                by,
                f"resizing {kept.value.ref} to {format_size(size_bytes)}",
            )
        return self.volume(pool, name)

    def rename_volume(self, pool: str, name: str, new_name: str, *, by: str) -> VolumePicture:
        """Another name; definitions that name it must be changed first (there must be none)."""
        checked_name(new_name, "volume")
        kept = self._unused(self._idle(self._need_volume(pool, name)), "renamed")
        self._check_absent(pool, new_name)
        self._work(kept, "volume.rename", {"new_name": new_name}, by, f"renaming {kept.value.ref} to {new_name}")
        return self.volume(pool, new_name)

    def remove_volume(self, pool: str, name: str, *, by: str) -> None:
        """The volume, its snapshots and all their data are destroyed. Raises Refused while a VM's definition names
        it.
        """
        kept = self._not_busy(self._need_volume(pool, name))
        if kept.value.phase is not VolumePhase.REMOVING:  # what is half gone serves no VM that names it
            self._unused(kept, "removed")
        task = self._task(
            "volume.remove", kept.value.home, {"pool": pool, "name": name}, by, f"removing volume {kept.value.ref}"
        )
        self._submit(task, kept, phase=VolumePhase.REMOVING)
        self._done(task)

    def upload(
        self, pool: str, name: str, image_format: str, size_bytes: int | None, body: Iterable[bytes], *, by: str
    ) -> None:
        """Replace the volume's content by an image. All or nothing: a cut upload leaves the volume as it was."""
        kept = self._idle(self._need_volume(pool, name))
        if image_format not in self._capabilities(pool).upload_formats:
            known = ", ".join(self._capabilities(pool).upload_formats)
            raise Invalid(
                f"images of format {image_format!r} cannot be uploaded",
                help=f"formats of this pool: {known}",
                fields={"image_format": known},
            )
        args: dict[str, object] = {"pool": pool, "name": name, "image_format": image_format, "size_bytes": size_bytes}
        task = self._task(
            "volume.upload", kept.value.home or self._worker(), args, by, f"uploading into {kept.value.ref}"
        )
        self._submit(task, kept)
        try:
            self.desk.ask(task.node, "upload", {"task": task.id}, body=body, deadline_s=10.0).close()
        except PvcError:
            with suppress(PvcError):  # the same error again, or Retry: the volume is busy for a little longer
                self._done(task, timeout_s=5.0)
            raise
        self._done(task, timeout_s=60.0)

    def export(self, pool: str, name: str, *, snapshot: str = "") -> Flow:
        """The content as a raw image."""
        kept = self._idle(self._need_volume(pool, name))
        args = {"pool": pool, "name": name, "snapshot": snapshot}
        return Flow(self.desk.ask(kept.value.home or self._worker(), "export", args, deadline_s=10.0))

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def snapshots(
        self, *, pool: str | None = None, volume: str | None = None, limit: str | None = None
    ) -> list[tuple[Volume, Snapshot]]:
        matches = name_filter(limit)
        return [
            (picture.volume, snapshot)
            for picture in self.volumes(pool=pool)
            if volume in (None, picture.volume.name)
            for snapshot in sorted(picture.volume.snapshots, key=lambda item: item.name)
            if matches(snapshot.name)
        ]

    def snapshot(self, pool: str, volume: str, name: str) -> tuple[Volume, Snapshot]:
        kept = self._need_volume(pool, volume)
        return kept.value, self._need_snapshot(kept.value, name)

    def add_snapshot(self, pool: str, volume: str, name: str, *, by: str) -> tuple[Volume, Snapshot]:
        checked_name(name, "snapshot")
        kept = self._idle(self._need_volume(pool, volume))
        self._able(pool, "snapshots")
        if any(old.name == name for old in kept.value.snapshots):
            raise Exists(f"volume {kept.value.ref} has a snapshot {name!r} already", help="choose another name")
        args = {"snapshot": name, "id": self.desk.new_uuid()}
        self._work(kept, "volume.snapshot_create", args, by, f"taking snapshot {name} of {kept.value.ref}")
        return self.snapshot(pool, volume, name)

    def rename_snapshot(self, pool: str, volume: str, name: str, new_name: str, *, by: str) -> tuple[Volume, Snapshot]:
        checked_name(new_name, "snapshot")
        kept = self._idle(self._need_volume(pool, volume))
        self._need_snapshot(kept.value, name)
        if any(old.name == new_name for old in kept.value.snapshots):
            raise Exists(f"volume {kept.value.ref} has a snapshot {new_name!r} already", help="choose another name")
        args = {"snapshot": name, "new_name": new_name}
        self._work(
            kept, "volume.snapshot_rename", args, by, f"renaming snapshot {name} of {kept.value.ref} to {new_name}"
        )
        return self.snapshot(pool, volume, new_name)

    def rollback_snapshot(self, pool: str, volume: str, name: str, *, by: str) -> None:
        """The volume's content is the snapshot's again; what came after is lost. No guest may use it."""
        kept = self._idle(self._need_volume(pool, volume))
        self._need_snapshot(kept.value, name)
        self._work(kept, "volume.snapshot_rollback", {"snapshot": name}, by, f"rolling {kept.value.ref} back to {name}")

    def remove_snapshot(self, pool: str, volume: str, name: str, *, by: str) -> None:
        kept = self._idle(self._need_volume(pool, volume))
        self._need_snapshot(kept.value, name)
        self._work(
            kept, "volume.snapshot_remove", {"snapshot": name}, by, f"removing snapshot {name} of {kept.value.ref}"
        )

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _task(self, kind: str, node: str, args: dict[str, object], by: str, status: str) -> Task:
        return self.tasks.new(kind, node=node, args=args, by=by, status=status)

    def _run(self, task: Task) -> None:
        self._done(self.tasks.submit(task))

    def _done(self, task: Task, *, timeout_s: float = 3600.0) -> None:
        """Wait for its end, and until the picture shows what it did: the same commit, but another record."""
        self.tasks.done(task, timeout_s=timeout_s)
        pool = str(task.args["pool"])
        names = {str(task.args[key]) for key in ("name", "new_name") if key in task.args}
        keys = [layout.VOLUMES.key(volume_id(pool, name)) for name in sorted(names)]
        self.desk.keeper.settle([layout.POOLS.key(pool), *keys], inline=self.desk.inline)

    def _create(
        self,
        kind: str,
        volume: Volume,
        args: dict[str, object],
        by: str,
        status: str,
        source: Kept[Volume] | None = None,
    ) -> None:
        """`source` is busy until the task has ended, like the new volume."""
        pool = self._need_pool(volume.pool)
        args = {"pool": volume.pool, "name": volume.name, **args}
        task = self._task(kind, volume.home, args, by, status)
        record = replace(volume, phase=VolumePhase.CREATING, task=task.id)
        writes: list[Write] = [
            Add(layout.VOLUMES, volume_id(volume.pool, volume.name), record),
            Add(layout.TASKS, task.id, task),
            Unchanged(layout.POOLS, pool.value.name, pool.version),
        ]
        if source is not None:
            id = volume_id(source.value.pool, source.value.name)
            writes.append(Set(layout.VOLUMES, id, replace(source.value, task=task.id), source.version))
        self.desk.commit(*writes)
        self._done(task)

    def _work(self, kept: Kept[Volume], kind: str, args: dict[str, Any], by: str, status: str) -> None:
        """One task at a time on a volume: its record names the task in the commit that submits it."""
        volume = kept.value
        task = self._task(kind, self._node_for(volume), {"pool": volume.pool, "name": volume.name, **args}, by, status)
        self._submit(task, kept)
        self._done(task)

    def _submit(self, task: Task, kept: Kept[Volume], **changes: Any) -> None:
        """A start writes the volume's record over as it was, to be noticed: that alone is no reason to refuse."""
        id = volume_id(kept.value.pool, kept.value.name)
        busy = replace(kept.value, task=task.id, **changes)
        try:
            self.desk.commit(Set(layout.VOLUMES, id, busy, kept.version), Add(layout.TASKS, task.id, task))
        except Refused:
            now = self.desk.view.volumes.get(id)
            if now is None or now.value != kept.value or now.version == kept.version:
                raise
            self.desk.commit(Set(layout.VOLUMES, id, busy, now.version), Add(layout.TASKS, task.id, task))

    def _node_for(self, volume: Volume) -> str:
        """Where work on the volume happens: where a guest has it open, else at its home, else on the primary."""
        for vm in users(self.desk, volume.ref):
            claim = self.desk.view.claims.get(vm.uuid)
            if claim is not None and volume.ref in claim.value.volumes:
                return claim.value.holder
        return volume.home

    def _worker(self) -> str:
        if not self.desk.view.primary:
            raise Refused("no node is primary at this moment", help="try again in a few seconds")
        return self.desk.view.primary

    def _new_volume(self, pool: Pool, name: str, size_bytes: int) -> Volume:
        home = "" if self._believed_shared(pool) else self._home(pool.name)
        formats = self._definitions(pool.driver).capabilities.formats
        return Volume(
            id=self.desk.new_uuid(),
            pool=pool.name,
            name=name,
            size_bytes=size_bytes,
            home=home,
            format=pool.options.get("format", formats[0]),
            created_at_s=self.desk.clock.wall_s(),
        )

    def _home(self, pool: str) -> str:
        """In a pool that is not shared: the node with the most room in it."""
        seen = {name: kept.value for name, kept in self.desk.view.storage_seen.items() if pool in kept.value.pools}
        alive = {
            name: kept.value
            for name, kept in self.desk.view.node_seen.items()
            if kept.value.daemon_state is DaemonState.RUN
        }
        candidates = [(usage.pools[pool].free_bytes, name) for name, usage in seen.items() if name in alive]
        if not candidates:
            raise Refused(f"no node can use pool {pool} at this moment", help="`pvc storage pool list` shows why")
        return max(candidates)[1]

    def _believed_shared(self, pool: Pool) -> bool:
        """Shared by its options, and every node has seen what the others wrote. Raises Refused while one has not."""
        if not self._shared(pool):
            return False
        if doubt := self._doubt(pool):
            raise Refused(
                doubt,
                help="is the same file system mounted there? `pvc storage pool list` shows each node's faults",
            )
        return True

    def _doubt(self, pool: Pool) -> str:
        """Why a pool that its options call shared is not believed to be; "" when every node has seen all marks."""
        sure = {node for node, kept in self.desk.view.storage_seen.items() if kept.value.shared.get(pool.name)}
        doubtful = ", ".join(sorted(self.desk.view.node_seen.keys() - sure))
        why = f"pool {pool.name} is said to be shared, but {doubtful} has not seen the others' marks"
        return why if doubtful else ""

    def _shared(self, pool: Pool) -> bool:
        definitions = self._definitions(pool.driver)
        return definitions.shared(definitions.pool_options().load(dict(pool.options)))

    def _check_absent(self, pool: str, name: str) -> None:
        kept = self.desk.view.volumes.get(volume_id(pool, name))
        if kept is not None and kept.value.phase is VolumePhase.REMOVING:
            raise Exists(
                f"volume {pool}/{name} is still being removed", help="if that failed, remove it again; or choose a name"
            )
        if kept is not None:
            raise Exists(f"a volume {pool}/{name} exists already", help="choose another name")

    def _check_room(self, pool: str, more_bytes: int, force: bool) -> None:
        usages = [kept.value.pools[pool] for kept in self.desk.view.storage_seen.values() if pool in kept.value.pools]
        if not usages:
            return
        best = max(usages, key=lambda usage: usage.free_bytes)
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
            pool=pool, usage=self._usage(pool, seen), volume_count=count, shared=shared,
            fault="; ".join([*faults, *([doubt] if doubt else [])]),
        )  # fmt: skip

    def _usage(self, pool: Pool, seen: list[Any]) -> PoolUsage | None:
        """Of a shared pool any node's figures, else the sum over the nodes."""
        usages = [item.pools[pool.name] for item in seen if pool.name in item.pools]
        if not usages or self._shared(pool):
            return usages[0] if usages else None
        return PoolUsage(
            total_bytes=sum(usage.total_bytes for usage in usages),
            used_bytes=sum(usage.used_bytes for usage in usages),
            free_bytes=sum(usage.free_bytes for usage in usages),
            stored_bytes=sum(usage.stored_bytes for usage in usages),
        )
