"""Volumes: made, copied, resized, renamed, removed. Their data: volume_data.py, snapshots: snapshots.py."""

from __future__ import annotations

from dataclasses import replace

from pvc_core.errors import Invalid, Refused
from pvc_core.ids import checked_name
from pvc_core.model.node import DaemonState
from pvc_core.model.storage import Pool, Volume, VolumePhase
from pvc_core.services.filters import name_filter
from pvc_core.services.pictures import VolumePicture
from pvc_core.services.storage_tasks import StorageTasks
from pvc_core.services.vm_checks import users
from pvc_core.units import KIB, format_size

SMALLEST_BYTES = 4 * KIB
"""A block of most disks. Who asks for less has forgotten the unit."""


class Volumes(StorageTasks):
    __slots__ = ()

    def volumes(self, *, pool: str | None = None, limit: str | None = None) -> list[VolumePicture]:
        matches = name_filter(limit)
        using, used = self._users_by_volume(), self._used_by_volume()
        names = {kept.value.id: kept.value.ref for kept in self.desk.view.volumes.values()}
        found = [
            VolumePicture(
                volume=kept.value,
                version=kept.version,
                users=tuple(using.get(kept.value.ref, ())),
                used_bytes=used.get(kept.value.ref),
                parent=names.get(kept.value.parent, ""),
            )
            for kept in self.desk.view.volumes.values()
            if kept.value.phase is VolumePhase.READY and matches(kept.value.name) and pool in (None, kept.value.pool)
        ]
        return sorted(found, key=lambda picture: (picture.volume.pool, picture.volume.name))

    def counts(self) -> tuple[int, int]:
        """How many volumes and how many snapshots of them there are, in all pools."""
        ready = [kept.value for kept in self.desk.view.volumes.values() if kept.value.phase is VolumePhase.READY]
        return len(ready), sum(len(volume.snapshots) for volume in ready)

    def volume(self, pool: str, name: str) -> VolumePicture:
        kept = self._need_volume(pool, name)
        parent = next(
            (one.value.ref for one in self.desk.view.volumes.values() if one.value.id == kept.value.parent), ""
        )
        return VolumePicture(
            volume=kept.value,
            version=kept.version,
            users=tuple(vm.name for vm in users(self.desk, kept.value.ref)),
            used_bytes=self._used_by_volume().get(kept.value.ref),
            parent=parent,
        )

    def _used_by_volume(self) -> dict[str, int]:
        """As the drivers reported it last."""
        reports = self.desk.view.storage_reports.values()
        return {ref: count for kept in reports for ref, count in kept.value.volumes.items()}

    def add_volume(self, pool: str, name: str, size_bytes: int, *, by: str, force: bool = False) -> VolumePicture:
        """A new, empty volume. Returns when it can be used. Raises Exists, NotFound (pool), Refused (no room)."""
        checked_name(name, "volume")
        kept = self._need_pool(pool)
        if size_bytes < SMALLEST_BYTES:
            raise Invalid(
                f"a volume of {size_bytes} bytes is too small",
                help="a number without a unit counts bytes: give one, like 512M, 10G or 2T",
                fields={"size": f"must be {format_size(SMALLEST_BYTES)} or more"},
            )
        self._check_absent(pool, name)
        self._check_room(pool, size_bytes, force)
        volume = self._new_volume(kept.value, name, size_bytes)
        self._create("volume.create", volume, {}, by, f"making volume {volume.ref} of {format_size(size_bytes)}")
        return self.volume(pool, name)

    def clone_volume(
        self, pool: str, name: str, new_name: str, *, by: str, force: bool = False, thin: bool = False
    ) -> VolumePicture:
        """A full, independent copy in the same pool; with `thin` it shares what neither has changed."""
        checked_name(new_name, "volume")
        source = self._idle(self._need_volume(pool, name))
        self._able(pool, "thin_clone" if thin else "clone")
        self._check_absent(pool, new_name)
        self._check_room(pool, source.value.size_bytes, force)
        target = replace(
            self._new_volume(self._need_pool(pool).value, new_name, source.value.size_bytes),
            home=source.value.home,
            format=source.value.format,
        )
        kind, verb = ("volume.clone_thin", "cloning") if thin else ("volume.clone", "copying")
        status = f"{verb} {source.value.ref} to {target.ref}"
        self._create(kind, target, {"source": source.value.name}, by, status, source=source)
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
