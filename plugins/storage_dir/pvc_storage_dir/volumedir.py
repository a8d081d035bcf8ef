"""One volume's directory: disk.FORMAT, volume.json (who it is), snap-ID.raw per snapshot of a raw volume.

Only what volume.json says counts; a file it does not name is debris of an interrupted call.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, dataclass, replace

from pvc_core.errors import NotFound, Permanent
from pvc_core.model.storage import VolumeFound
from pvc_storage_dir import qcow2
from pvc_storage_dir.copying import used_bytes, write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Snap:
    id: str
    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeDir:
    """`rollback` is the snapshot that an unfinished rollback goes to: until it is "", the disk is not usable."""

    path: str
    id: str
    format: str
    snapshots: tuple[Snap, ...] = ()
    rollback: str = ""

    @classmethod
    def read(cls, path: str) -> VolumeDir | None:
        """The volume whose directory this is; None for anything else. A link is never followed."""
        try:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                return None
            with open(os.path.join(path, "volume.json"), "rb") as file:
                record = json.loads(file.read())
            return cls(
                path=path,
                id=str(record["id"]),
                format=qcow2.known_format(record["format"]),
                snapshots=tuple(Snap(**one) for one in record["snapshots"]),
                rollback=str(record["rollback"]),
            )
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise Permanent(f"{path}/volume.json is damaged: {error}", help="restore it from a backup") from error

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    @property
    def disk(self) -> str:
        return os.path.join(self.path, f"disk.{self.format}")

    def snap_path(self, snap_id: str) -> str:
        return os.path.join(self.path, f"snap-{snap_id}.raw")

    def snap(self, snap_id: str) -> Snap | None:
        return next((one for one in self.snapshots if one.id == snap_id), None)

    def save(self) -> VolumeDir:
        """Write volume.json, all or nothing; returns itself."""
        record = {
            "v": 1,
            "id": self.id,
            "format": self.format,
            "snapshots": [asdict(one) for one in self.snapshots],
            "rollback": self.rollback,
        }
        write_whole(os.path.join(self.path, "volume.json"), json.dumps(record).encode())
        return self

    def with_snapshots(self, *snapshots: Snap) -> VolumeDir:
        return replace(self, snapshots=snapshots).save()

    def with_rollback(self, snap_id: str) -> VolumeDir:
        return replace(self, rollback=snap_id).save()

    def size_bytes(self) -> int:
        """What a guest sees. Raises NotFound if the bytes are missing."""
        try:
            return qcow2.virtual_size(self.disk) if self.format == "qcow2" else os.lstat(self.disk).st_size
        except FileNotFoundError:
            raise NotFound(
                f"the volume's bytes are missing: {self.disk}",
                help="they are never made anew by themselves; restore them, or remove the volume",
            ) from None

    def found(self) -> VolumeFound:
        """As the contract shows it. Raises NotFound if the bytes are missing."""
        return VolumeFound(
            name=self.name,
            size_bytes=self.size_bytes(),
            used_bytes=used_bytes(self.path),
            format=self.format,
            id=self.id,
            snapshots=tuple(one.name for one in self.snapshots),
        )
