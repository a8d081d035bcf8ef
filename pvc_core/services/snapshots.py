"""Snapshots of volumes."""

from __future__ import annotations

from pvc_core.errors import Exists
from pvc_core.ids import checked_name
from pvc_core.model.storage import Snapshot, Volume
from pvc_core.services.filters import name_filter
from pvc_core.services.volumes import Volumes


class Snapshots(Volumes):
    __slots__ = ()

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
