"""The driver half of storage_memo. A pool is a directory: ID.raw holds a volume, memo.json says which is which.

memo.json decides: a volume exists when it is named there, and its bytes are always written before and removed after.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from pvc_core.contracts import File, PluginContext, StorageDriver, Upload
from pvc_core.errors import NotFound, Permanent, Refused
from pvc_core.hookspecs import hookimpl
from pvc_core.model.node import HealthSeen
from pvc_core.model.storage import Pool, PoolUsage, Volume, VolumeFound
from pvc_storage_memo import files


class Driver(StorageDriver):
    """Calls come from many threads; the lock keeps two of them from writing memo.json at once."""

    def __init__(self, context: PluginContext) -> None:
        self._context = context
        self._base = Path(context.config["path"])
        self._lock = threading.Lock()

    # --- pools

    def ensure_pool(self, pool: Pool, *, deadline_s: float) -> None:
        path = self._base / files.safe(pool.name)
        key = f"pools/{self._context.node.name}/{pool.name}"
        with files.in_words(f'making pool "{pool.name}"', path):
            if not (path / "memo.json").exists():
                if self._context.state.children(key):  # the store remembers: never make a second pool where one was
                    raise Permanent(f'pool "{pool.name}" is not in {path}', help="is its file system mounted?")
                path.mkdir(parents=True, exist_ok=True)
                files.write_memo(path, {})
            self._context.state.put(f"{key}/made", b"", if_version=None)

    def remove_pool(self, pool: Pool, *, deadline_s: float) -> None:
        path = self._base / files.safe(pool.name)
        key = f"pools/{self._context.node.name}/{pool.name}/made"
        with self._lock, files.in_words(f'removing pool "{pool.name}"', path):
            if path.exists():
                if set(os.listdir(path)) - {"memo.json", "memo.json.new"} or self._memo(pool):
                    raise Refused(f'pool "{pool.name}" cannot be removed: {path} holds something')
                (path / "memo.json.new").unlink(missing_ok=True)
                (path / "memo.json").unlink()
                path.rmdir()
            with suppress(NotFound):
                self._context.state.delete(key, if_version=None)

    def pool_usage(self, pool: Pool, *, deadline_s: float) -> PoolUsage:
        path = self._path(pool)
        with files.in_words(f'measuring pool "{pool.name}"', path):
            stat = os.statvfs(path)
            used = sum(one.stat().st_blocks * 512 for one in path.iterdir())
            total, free = stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize
            return PoolUsage(total_bytes=total, used_bytes=used, free_bytes=free, stored_bytes=used)

    def list_volumes(self, pool: Pool, *, deadline_s: float) -> list[VolumeFound]:
        path = self._path(pool)
        with self._lock, files.in_words(f'listing pool "{pool.name}"', path):
            memo = self._memo(pool)
            found = [self._found(pool, identity, memo) for identity in memo if (path / f"{identity}.raw").exists()]
            strange = {one for one in os.listdir(path) if one.removesuffix(".raw") not in memo} - {"memo.json"}
            return found + [files.foreign(path / name) for name in sorted(strange) if not name.endswith(".new")]

    # --- volumes

    def create_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> VolumeFound:
        path = self._path(pool)
        with self._lock, files.in_words(f'making volume "{volume.ref}"', path):
            memo = self._memo(pool)
            if volume.id not in memo:
                files.is_free(memo, volume.name)
                files.fits(path, volume.size_bytes)
                with open(path / f"{files.safe(volume.id)}.raw", "wb") as file:  # what a crash left here is overwritten
                    file.truncate(volume.size_bytes)
                    os.fsync(file.fileno())
                files.write_memo(path, {**memo, volume.id: {"name": volume.name, "note": ""}})
            return self._found(pool, volume.id, self._memo(pool))

    def remove_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> None:
        path = self._path(pool)
        with self._lock, files.in_words(f'removing volume "{volume.ref}"', path):
            memo = self._memo(pool)
            if volume.id not in memo and volume.name in files.names(memo):
                raise Refused(f'"{volume.ref}" is another volume now; it is left as it is')
            if memo.pop(volume.id, None):
                files.write_memo(path, memo)
            for left in (f"{files.safe(volume.id)}.raw", f"{volume.id}.new"):
                (path / left).unlink(missing_ok=True)

    def resize_volume(
        self, pool: Pool, volume: Volume, size_bytes: int, *, in_use: bool, deadline_s: float
    ) -> VolumeFound:
        disk = self._disk(pool, volume)
        with files.in_words(f'resizing volume "{volume.ref}"', disk):
            if size_bytes < disk.stat().st_size:
                raise Refused(f'volume "{volume.ref}" can grow, not shrink')
            files.fits(disk.parent, size_bytes)
            if not in_use:  # else the hypervisor has grown it already
                os.truncate(disk, size_bytes)
            return self._found(pool, volume.id, self._memo(pool))

    def rename_volume(self, pool: Pool, volume: Volume, new_name: str, *, deadline_s: float) -> None:
        disk = self._disk(pool, volume)
        with self._lock, files.in_words(f'renaming volume "{volume.ref}"', disk):
            memo = self._memo(pool)
            if memo[volume.id]["name"] != new_name:
                files.is_free(memo, new_name)
                memo[volume.id]["name"] = new_name
                files.write_memo(disk.parent, memo)

    def attach(self, pool: Pool, volume: Volume, *, vm_uuid: str, read_only: bool, deadline_s: float) -> File:
        if volume.home not in ("", self._context.node.name):
            raise Refused(f'volume "{volume.ref}" is on node {volume.home}, not here')
        return File(path=str(self._disk(pool, volume)), format="raw")

    def detach(self, pool: Pool, volume: Volume, *, vm_uuid: str, deadline_s: float) -> None:
        """A file needs nothing to be let go."""

    def begin_upload(self, pool: Pool, volume: Volume, *, image_format: str, size_bytes: int | None) -> Upload:
        if image_format != "raw":
            raise Refused(
                f"images of format {image_format!r} are not taken", help="convert it: qemu-img convert -O raw"
            )
        return files.RawUpload(self._disk(pool, volume), size_bytes)

    def export_volume(self, pool: Pool, volume: Volume, *, snapshot: str = "") -> Iterator[bytes]:
        if snapshot:
            files.cannot("export a snapshot")
        return files.chunks(self._disk(pool, volume))

    # --- what is not declared is refused

    def clone_volume(self, *_: Any, **__: Any) -> NoReturn:
        files.cannot("clone")

    def create_snapshot(self, *_: Any, **__: Any) -> NoReturn:
        files.cannot("snapshot")

    remove_snapshot = rename_snapshot = rollback_snapshot = create_snapshot

    # --- the action

    def note(self, arguments: Mapping[str, Any], progress: Any) -> dict[str, object]:
        """Keeps `text` on a volume; without a text tells what is kept."""
        pool = Pool(name=arguments["pool"], driver="storage_memo")
        with self._lock:
            memo = self._memo(pool)
            entry = next((one for one in memo.values() if one["name"] == arguments["volume"]), None)
            if entry is None:
                raise NotFound(f'there is no volume "{arguments["pool"]}/{arguments["volume"]}" on this node')
            if arguments["text"]:
                entry["note"] = arguments["text"]
                files.write_memo(self._path(pool), memo)
            return {"volume": entry["name"], "note": entry["note"]}

    def volumes_without_bytes(self) -> list[str]:
        """For the health hook: names of volumes whose file is gone."""
        lost = []
        for path in sorted(self._base.glob("*/memo.json")):
            for identity, entry in json.loads(path.read_bytes()).items():
                if not (path.parent / f"{identity}.raw").exists():
                    lost.append(f"{path.parent.name}/{entry['name']}")
        return lost

    def _path(self, pool: Pool) -> Path:
        path = self._base / files.safe(pool.name)
        if not (path / "memo.json").exists():
            raise Permanent(f'pool "{pool.name}" is not in {path}', help="is its file system mounted?")
        return path

    def _memo(self, pool: Pool) -> dict[str, dict[str, str]]:
        memo: dict[str, dict[str, str]] = json.loads((self._path(pool) / "memo.json").read_bytes())
        return memo

    def _disk(self, pool: Pool, volume: Volume) -> Path:
        disk = self._path(pool) / f"{files.safe(volume.id)}.raw"
        if volume.id not in self._memo(pool) or not disk.exists():
            raise NotFound(f'the bytes of volume "{volume.ref}" are not in {disk.parent}')
        return disk

    def _found(self, pool: Pool, identity: str, memo: Mapping[str, Mapping[str, str]]) -> VolumeFound:
        stat = (self._path(pool) / f"{identity}.raw").stat()
        return VolumeFound(
            name=memo[identity]["name"],
            size_bytes=stat.st_size,
            used_bytes=stat.st_blocks * 512,
            format="raw",
            id=identity,
        )


class Health:
    """The hook: a volume whose file is gone shows in the node's health before anybody starts its VM."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @hookimpl
    def pvc_collect_health(self) -> list[HealthSeen]:
        lost = self._driver.volumes_without_bytes()
        return (
            [HealthSeen(plugin="storage_memo", delta=20, message=f"bytes are missing: {', '.join(lost)}")]
            if lost
            else []
        )
