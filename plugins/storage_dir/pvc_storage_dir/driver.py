"""The driver half: each call of the contract on files. Pools are pooldir.py's business, snapshots snapshots.py's."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping

from marshmallow import ValidationError

from pvc_core.contracts.actions import Progress
from pvc_core.contracts.plugin import PluginContext
from pvc_core.contracts.storage import StorageDriver
from pvc_core.contracts.targets import File
from pvc_core.errors import NotFound, Permanent, Refused, Retry
from pvc_core.model.storage import Pool, PoolUsage, Snapshot, Volume, VolumeFound
from pvc_storage_dir import qcow2, snapshots
from pvc_storage_dir.copying import copy_file, fsync_directory, fsync_file, used_bytes
from pvc_storage_dir.definitions import FORMATS, UPLOAD_FORMATS
from pvc_storage_dir.export import read_image
from pvc_storage_dir.faults import Job, free_bytes, readable, total_bytes
from pvc_storage_dir.images import Images
from pvc_storage_dir.known import KnownPools
from pvc_storage_dir.peers import Peers
from pvc_storage_dir.pooldir import PoolDir
from pvc_storage_dir.uploads import DirUpload
from pvc_storage_dir.volumedir import VolumeDir

_SECTOR_BYTES = 512
_STREAM_S = 24 * 3600.0
"""Uploads and exports have no deadline: whoever sends or reads may be slow. This only ends the forgotten ones."""


class DirStorage(StorageDriver):
    """Keeps nothing but which pools it has met; all else is read from the files each time."""

    def __init__(self, context: PluginContext) -> None:
        self._context = context
        self._base = str(context.config["path"])
        self._node = context.node.name
        self._known = KnownPools(context.state)
        self._images = Images(context)
        self._pools: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[PoolDir, Peers]] = {}
        self._ready: dict[str, str] = {}
        self._lock = threading.Lock()

    def pools(self) -> Mapping[str, str]:
        """The directory of each pool in use here, by name; for the health hook."""
        return dict(self._ready)

    def ensure_pool(self, pool: Pool, *, deadline_s: float) -> None:
        directory, peers = self._directory(pool)
        with self._job(f'preparing pool "{pool.name}"', directory, deadline_s).in_words():
            directory.ensure()
            if directory.shared:
                peers.leave_token()
        self._ready[pool.name] = directory.root

    def sees_peers(self, pool: Pool, *, deadline_s: float) -> bool:
        directory, peers = self._directory(pool)
        with self._job(f'looking for the other nodes in pool "{pool.name}"', directory, deadline_s).in_words():
            directory.open()
            return peers.all_seen()

    def remove_pool(self, pool: Pool, *, deadline_s: float) -> None:
        directory, peers = self._directory(pool)
        with self._job(f'removing pool "{pool.name}"', directory, deadline_s).in_words():
            directory.remove()
            if directory.shared:
                peers.forget()
        self._ready.pop(pool.name, None)

    def pool_usage(self, pool: Pool, *, deadline_s: float) -> PoolUsage:
        directory, _peers = self._directory(pool)
        with self._job(f'measuring pool "{pool.name}"', directory, deadline_s).in_words():
            used = used_bytes(directory.open().root)
            return PoolUsage(
                total_bytes=total_bytes(directory.root),
                used_bytes=used,
                free_bytes=free_bytes(directory.root),
                stored_bytes=used,
            )

    def list_volumes(self, pool: Pool, *, deadline_s: float) -> list[VolumeFound]:
        directory, _peers = self._directory(pool)
        job = self._job(f'listing pool "{pool.name}"', directory, deadline_s)
        result = []
        with job.in_words():
            for name, volume in directory.open().volumes():
                job.check()
                found = _found(volume) if volume else _foreign(os.path.join(directory.root, name))
                if found:
                    result.append(found)
        return result

    def strangers(self, pool: Pool, *, deadline_s: float) -> list[str]:
        """Links, empty directories, files that begin with a dot. A volume whose bytes are lost is none."""
        shown = {one.name for one in self.list_volumes(pool, deadline_s=deadline_s)}
        directory, _peers = self._directory(pool)
        with self._job(f'looking into pool "{pool.name}"', directory, deadline_s).in_words():
            volumes = {name for name, volume in directory.open().volumes() if volume}
            return [os.path.join(directory.root, one) for one in directory.entries() if one not in volumes | shown]

    def create_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> VolumeFound:
        directory, job = self._open(pool, f'making volume "{volume.ref}"', deadline_s, asked_bytes=volume.size_bytes)
        with job.in_words():
            found = directory.find(volume)
            if found:
                return found.found()
            directory.path_for(volume.name)
            size = _whole_sectors(job, volume.size_bytes)
            directory.purge(volume.id)
            with directory.staging(volume.id) as staged:
                made = VolumeDir(path=staged, id=volume.id, format=_format(directory, volume.format)).save()
                self._make_disk(made, size, job)
                directory.publish(staged, volume.name)
            return directory.get(volume).found()

    def remove_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> None:
        directory, job = self._open(pool, f'removing volume "{volume.ref}"', deadline_s)
        with job.in_words():
            found = directory.find(volume)
            if found:
                directory.discard(volume.id, found.path)
            elif os.path.lexists(os.path.join(directory.root, volume.name)):
                raise Refused(
                    f'"{volume.name}" in {directory.root} is not the volume with id {volume.id}: it is left as it is',
                    help="remove it by hand if nobody needs it",
                )
            directory.purge(volume.id)

    def resize_volume(
        self, pool: Pool, volume: Volume, size_bytes: int, *, in_use: bool, deadline_s: float
    ) -> VolumeFound:
        directory, job = self._open(pool, f'resizing volume "{volume.ref}"', deadline_s, asked_bytes=size_bytes)
        with job.in_words():
            found = directory.get(volume)
            now = found.size_bytes()
            if now - size_bytes >= _SECTOR_BYTES:
                raise Refused(f'volume "{volume.ref}" has {readable(now)}; it can grow, not shrink')
            if size_bytes > now:
                self._grow(found, _whole_sectors(job, size_bytes), in_use, job)
            fsync_file(found.disk)
            return found.found()

    def rename_volume(self, pool: Pool, volume: Volume, new_name: str, *, deadline_s: float) -> None:
        directory, job = self._open(pool, f'renaming volume "{volume.ref}"', deadline_s)
        with job.in_words():
            found = directory.get(volume)
            if found.name != new_name:
                directory.move(found.path, new_name)

    def attach(self, pool: Pool, volume: Volume, *, vm_uuid: str, read_only: bool, deadline_s: float) -> File:
        directory, job = self._open(pool, f'attaching volume "{volume.ref}"', deadline_s)
        if volume.home not in ("", self._node) and not directory.shared:
            raise Refused(f'volume "{volume.ref}" is on node {volume.home}, not here on {self._node}')
        with job.in_words():
            found = directory.get(volume)
            if found.rollback:
                raise Retry(
                    f'volume "{volume.ref}" is in the middle of a rollback', help="let the rollback be repeated"
                )
            found.size_bytes()
            return File(path=found.disk, format=found.format)

    def detach(self, pool: Pool, volume: Volume, *, vm_uuid: str, deadline_s: float) -> None:
        """A file needs nothing to be let go."""

    def begin_upload(self, pool: Pool, volume: Volume, *, image_format: str, size_bytes: int | None) -> DirUpload:
        if image_format not in UPLOAD_FORMATS:
            raise Refused(
                f"images of format {image_format!r} are not taken", help=f"formats: {', '.join(UPLOAD_FORMATS)}"
            )
        asked = size_bytes or volume.size_bytes
        directory, job = self._open(pool, f'the upload into volume "{volume.ref}"', _STREAM_S, asked_bytes=asked)
        with job.in_words():
            directory.purge(volume.id)
            return DirUpload(directory, volume, self._images, image_format, size_bytes, job)

    def export_volume(self, pool: Pool, volume: Volume, *, snapshot: str = "") -> Iterator[bytes]:
        directory, job = self._open(pool, f'exporting volume "{volume.ref}"', _STREAM_S)
        with job.in_words():
            found = directory.get(volume)
            snap = next((one for one in found.snapshots if one.name == snapshot), None)
            if snapshot and not snap:
                raise NotFound(f'volume "{volume.ref}" has no snapshot "{snapshot}"')
            return read_image(found, snap, job)

    def clone_volume(
        self, pool: Pool, source: Volume, target: Volume, *, progress: Progress, deadline_s: float
    ) -> VolumeFound:
        directory, job = self._open(pool, f'cloning volume "{source.ref}" to "{target.name}"', deadline_s)
        with job.in_words():
            found = directory.find(target)
            if found:
                return found.found()
            directory.path_for(target.name)
            origin = directory.get(source)
            job.asked_bytes = used_bytes(origin.disk)
            directory.purge(target.id)
            with directory.staging(target.id) as staged:
                made = VolumeDir(
                    path=staged, id=target.id, format=_format(directory, target.format or origin.format)
                ).save()
                self._copy_disk(origin, made, progress, job)
                directory.publish(staged, target.name)
            return directory.get(target).found()

    def create_snapshot(
        self, pool: Pool, volume: Volume, snapshot: Snapshot, *, in_use: bool, deadline_s: float
    ) -> None:
        directory, job = self._open(pool, f'the snapshot "{snapshot.name}" of volume "{volume.ref}"', deadline_s)
        if in_use:
            raise Refused(f"{job.doing} needs the volume unused: files cannot be snapshotted under a running guest")
        with job.in_words():
            snapshots.create(directory, directory.get(volume), snapshot, self._images, job)

    def remove_snapshot(self, pool: Pool, volume: Volume, snapshot: Snapshot, *, deadline_s: float) -> None:
        directory, job = self._open(pool, f'removing snapshot "{snapshot.name}" of volume "{volume.ref}"', deadline_s)
        with job.in_words():
            found = directory.find(volume)
            if found:
                snapshots.remove(found, snapshot, self._images, job)

    def rename_snapshot(
        self, pool: Pool, volume: Volume, snapshot: Snapshot, new_name: str, *, deadline_s: float
    ) -> None:
        directory, job = self._open(pool, f'renaming snapshot "{snapshot.name}" of volume "{volume.ref}"', deadline_s)
        with job.in_words():
            snapshots.rename(directory.get(volume), snapshot, new_name)

    def rollback_snapshot(self, pool: Pool, volume: Volume, snapshot: Snapshot, *, deadline_s: float) -> None:
        directory, job = self._open(pool, f'rolling volume "{volume.ref}" back to "{snapshot.name}"', deadline_s)
        with job.in_words():
            snapshots.rollback(directory, directory.get(volume), snapshot, self._images, job)

    def _directory(self, pool: Pool) -> tuple[PoolDir, Peers]:
        key = (pool.name, tuple(sorted(pool.options.items())))
        with self._lock:
            if key not in self._pools:
                try:
                    directory = PoolDir(pool, self._base, self._node, self._known)
                except ValidationError as error:
                    raise Permanent(f'the options of pool "{pool.name}" are wrong: {error}') from error
                self._pools[key] = directory, Peers(directory, self._node, self._known)
            return self._pools[key]

    def _open(self, pool: Pool, doing: str, deadline_s: float, *, asked_bytes: int = 0) -> tuple[PoolDir, Job]:
        directory, _peers = self._directory(pool)
        job = self._job(doing, directory, deadline_s, asked_bytes=asked_bytes)
        job.check()
        with job.in_words():
            return directory.open(), job

    def _job(self, doing: str, directory: PoolDir, deadline_s: float, *, asked_bytes: int = 0) -> Job:
        context = self._context
        return Job(doing, directory.root, context.clock, deadline_s, context.stopping, asked_bytes=asked_bytes)

    def _make_disk(self, made: VolumeDir, size_bytes: int, job: Job) -> None:
        if made.format == "raw":
            with open(made.disk, "xb") as file:
                os.fchmod(file.fileno(), 0o600)
                os.ftruncate(file.fileno(), size_bytes)
        else:
            self._images.make_qcow2(made.disk, size_bytes, job)
        fsync_file(made.disk)

    def _grow(self, found: VolumeDir, size_bytes: int, in_use: bool, job: Job) -> None:
        if in_use:
            raise Retry(f"{job.doing} waits for the hypervisor to grow the image", again_in_s=1)
        if found.format == "raw":
            os.truncate(found.disk, size_bytes)
        else:
            self._images.resize(found.disk, found.format, size_bytes, job)

    def _copy_disk(self, origin: VolumeDir, made: VolumeDir, progress: Progress, job: Job) -> None:
        """A file without snapshots is copied as it is; otherwise only what a guest sees is."""

        def copied(done: int, total: int) -> None:
            job.check()
            progress(done, total, f"copied {readable(done)} of {readable(total)}")

        if origin.format == made.format and not (origin.format == "qcow2" and origin.snapshots):
            copy_file(origin.disk, made.disk, copied)
        else:
            progress(0, 1, f"converting {origin.format} to {made.format}")
            self._images.convert(origin.disk, origin.format, made.disk, made.format, job)
            fsync_file(made.disk)
        fsync_directory(made.path)
        progress(1, 1, "the copy is complete")


def _found(volume: VolumeDir) -> VolumeFound | None:
    """None if its bytes are missing, or it went away while the list was made."""
    try:
        return volume.found()
    except NotFound:
        return None


def _foreign(path: str) -> VolumeFound | None:
    """A file PVC did not make, or a volume whose record is damaged; None for other directories and for links."""
    if os.path.islink(path) or not (os.path.isfile(path) or os.path.lexists(os.path.join(path, "volume.json"))):
        return None
    name, used = os.path.basename(path), used_bytes(path)
    if os.path.isdir(path):
        return VolumeFound(name=name, size_bytes=0, used_bytes=used, format="damaged")
    try:
        if qcow2.is_qcow2(qcow2.read_head(path)):
            return VolumeFound(name=name, size_bytes=qcow2.virtual_size(path), used_bytes=used, format="qcow2")
        return VolumeFound(name=name, size_bytes=os.path.getsize(path), used_bytes=used, format="raw")
    except FileNotFoundError:
        return None


def _format(directory: PoolDir, wanted: str) -> str:
    chosen = wanted or directory.default_format
    if chosen not in FORMATS:
        raise Refused(f"volumes of format {chosen!r} are not made here", help=f"formats: {', '.join(FORMATS)}")
    return chosen


def _whole_sectors(job: Job, size_bytes: int) -> int:
    """The size as the hypervisor counts it. Raises Refused when the file system is smaller than that, sparse or not."""
    if size_bytes <= 0:
        raise Refused(f"{job.doing} failed: {size_bytes} bytes is no size", help="give a size like 10G")
    total = total_bytes(job.directory)
    if size_bytes > total:
        raise Refused(
            f"{job.doing} failed: {readable(size_bytes)} were asked for, the whole file system of {job.directory} has "
            f"{readable(total)}, of which {readable(free_bytes(job.directory))} are free",
            help="choose a smaller size, or another pool",
        )
    return -(-size_bytes // _SECTOR_BYTES) * _SECTOR_BYTES
