"""What the child can be asked, by name: plain values in, plain values out; deadlines are the parent's.

An upload or an export is several calls to the same child, which keeps what belongs to it in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pvc_core.contracts.actions import Progress
from pvc_core.errors import Refused
from pvc_core.model.fence import FenceAnswer, WriteFence
from pvc_core.model.storage import Pool, PoolUsage, Snapshot, StorageReport, Volume, VolumeFound
from pvc_storage_ceph import keyring, report, snapshots, thin
from pvc_storage_ceph.cluster import Cluster
from pvc_storage_ceph.diffing import DiffExport, DiffStaging, rewind
from pvc_storage_ceph.exports import Export
from pvc_storage_ceph.fencing import Fencing, blocklist, users_of
from pvc_storage_ceph.images import Images
from pvc_storage_ceph.pools import Pools
from pvc_storage_ceph.records import Records
from pvc_storage_ceph.staging import Staging
from pvc_storage_ceph.volumes import Volumes


class Calls:
    """Of one connection, one at a time."""

    def __init__(self, cluster: Cluster, progress: Progress) -> None:
        self._cluster, self._progress = cluster, progress
        self._pools = Pools(cluster, cluster.config["pool_prefix"])
        self._upload: Staging | None = None
        self._export: Export | DiffExport | None = None
        self._diff: DiffStaging | None = None

    @property
    def in_the_middle(self) -> bool:
        """Of an upload or export: images are open."""
        return self._upload is not None or self._export is not None or self._diff is not None

    def ensure_pool(self, pool: Pool, may_make: bool, *, deadline_s: float) -> None:
        self._pools.ensure(pool, may_make=may_make)

    def remove_pool(self, pool: Pool, *, deadline_s: float) -> None:
        self._pools.remove(pool)

    def strangers(self, pool: Pool, *, deadline_s: float) -> list[str]:
        return self._pools.strangers(pool)

    def pool_usage(self, pool: Pool, objects_bytes: int, *, deadline_s: float) -> PoolUsage:
        """`objects_bytes` is what its volumes' object maps show."""
        return self._pools.usage(pool, objects_bytes)

    def is_full(self, pool: Pool, *, deadline_s: float) -> bool:
        return self._pools.is_full(pool)

    def change_pool(self, pool: Pool, *, deadline_s: float) -> None:
        self._pools.change(pool)

    def report(self, pools: tuple[Pool, ...], *, deadline_s: float) -> StorageReport:
        return report.collected(self._cluster, pools, self._pools.name)

    def ask(self, prefix: str, words: dict[str, Any], *, deadline_s: float) -> Any:
        """A monitor's answer."""
        return self._cluster.command(prefix, **words)

    def make_hidden(self, pool: str, name: str, size_bytes: int, *, deadline_s: float) -> None:
        """An image that no list shows, for a measurement."""
        self._hidden(pool).make(name, size_bytes)

    def remove_hidden(self, pool: str, name: str, *, deadline_s: float) -> None:
        self._hidden(pool).remove(name)

    def status(self, *, deadline_s: float) -> dict[str, Any]:
        """As `ceph status` has it."""
        answer: dict[str, Any] = self._cluster.command("status")
        return answer

    def list_volumes(self, pool: Pool, *, deadline_s: float) -> list[VolumeFound]:
        return self._volumes(pool).list()

    def create_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> VolumeFound:
        return self._volumes(pool).create(volume)

    def remove_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> None:
        if self._pools.is_there(pool):  # with its pool, the volume is gone
            self._volumes(pool).remove(volume)

    def resize_volume(self, pool: Pool, volume: Volume, size_bytes: int, *, deadline_s: float) -> VolumeFound:
        return self._volumes(pool).resize(volume, size_bytes)

    def rename_volume(self, pool: Pool, volume: Volume, new_name: str, *, deadline_s: float) -> None:
        self._volumes(pool).rename(volume, new_name)

    def clone_volume(self, pool: Pool, source: Volume, target: Volume, *, deadline_s: float) -> VolumeFound:
        return self._volumes(pool).clone(source, target, self._progress)

    def clone_thin(self, pool: Pool, source: Volume, target: Volume, *, deadline_s: float) -> VolumeFound:
        return thin.clone(self._volumes(pool), source, target)

    def flatten_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> None:
        thin.flatten(self._volumes(pool), volume, self._progress)

    def adopt_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> VolumeFound:
        return thin.adopt(self._volumes(pool), volume)

    def create_snapshot(self, pool: Pool, volume: Volume, snapshot: Snapshot, *, deadline_s: float) -> None:
        snapshots.create(self._volumes(pool), volume, snapshot)

    def remove_snapshot(self, pool: Pool, volume: Volume, snapshot: Snapshot, *, deadline_s: float) -> None:
        snapshots.remove(self._volumes(pool), volume, snapshot)

    def rename_snapshot(
        self, pool: Pool, volume: Volume, snapshot: Snapshot, new_name: str, *, deadline_s: float
    ) -> None:
        snapshots.rename(self._volumes(pool), volume, snapshot, new_name)

    def rollback_snapshot(self, pool: Pool, volume: Volume, snapshot: Snapshot, *, deadline_s: float) -> None:
        snapshots.rollback(self._volumes(pool), volume, snapshot)

    def where_is(
        self, pool: Pool, volume: Volume, *, deadline_s: float
    ) -> tuple[str, str, tuple[tuple[str, int], ...]]:
        """(Ceph's pool, image, monitors)."""
        record = self._volumes(pool).usable(volume)
        return self._pools.name(pool), record.name, self._monitors()

    def fsid(self, *, deadline_s: float) -> str:
        """Which Ceph this is."""
        return self._cluster.fsid()

    def begin_life(
        self, node: str, incarnation: str, prefix: str, blocked: Sequence[str], *, deadline_s: float
    ) -> tuple[str, str]:
        return keyring.begin_life(self._cluster, node, incarnation, prefix, blocked)

    def let_in(self, user: str, pool: Pool, *, deadline_s: float) -> None:
        keyring.let_in(self._cluster, user, self._pools.name(pool))

    def fence_node(self, fence: WriteFence, prefix: str, *, deadline_s: float) -> FenceAnswer:
        volumes = self._volumes(fence.pool)
        return Fencing(self._cluster, volumes.images, volumes.records, fence).attempt(prefix)

    def users_of(self, pool: Pool, volume: Volume, *, deadline_s: float) -> list[str]:
        """Addresses that have it open or locked."""
        volumes = self._volumes(pool)
        return sorted(users_of(volumes.images, volumes.records, volume))

    def shut_out(self, addresses: Sequence[str], for_s: float, *, deadline_s: float) -> None:
        blocklist(self._cluster, addresses, for_s)

    def revoke(self, node: str, incarnation: str, prefix: str, *, deadline_s: float) -> list[str]:
        return keyring.revoke(self._cluster, node, incarnation, prefix)

    def begin_upload(
        self, pool: Pool, volume: Volume, image_format: str, announced: int | None, *, deadline_s: float
    ) -> None:
        self._upload = Staging(self._volumes(pool), volume, image_format, announced)

    def write(self, data: bytes, *, deadline_s: float) -> None:
        self._begun().write(data)

    def finish_upload(self, *, deadline_s: float) -> tuple[str, str, int]:
        """All bytes came: (image they are in, image that shall have the content, its size)."""
        return self._begun().whole()

    def put_in_place(self, *, deadline_s: float) -> None:
        self._begun().put_in_place()
        self._upload = None

    def abort_upload(self, pool: Pool, volume: Volume, *, deadline_s: float) -> None:
        if self._upload is not None:
            self._upload.close()
            self._upload = None
        self._volumes(pool).purge(volume.id)

    def begin_export(self, pool: Pool, volume: Volume, snapshot: str, *, deadline_s: float) -> None:
        self._export = Export(self._volumes(pool), volume, snapshot)

    def begin_export_diff(
        self, pool: Pool, volume: Volume, snapshot: str, since: str, version: int, *, deadline_s: float
    ) -> None:
        self._export = DiffExport(self._volumes(pool), volume, snapshot, since, version)

    def begin_diff(self, pool: Pool, volume: Volume, snapshot: Snapshot, since: str, *, deadline_s: float) -> None:
        self._diff = DiffStaging(self._volumes(pool), volume, snapshot, since)

    def write_diff(self, data: bytes, *, deadline_s: float) -> None:
        if self._diff is None:
            raise Refused("this diff is over")
        self._diff.write(data)

    def finish_diff(self, *, deadline_s: float) -> int:
        if self._diff is None:
            raise Refused("this diff is over")
        size = self._diff.finish()
        self._diff = None
        return size

    def abort_diff(self, pool: Pool, volume: Volume, *, deadline_s: float) -> None:
        if self._diff is not None:
            self._diff.close()
            self._diff = None
        rewind(self._volumes(pool), volume)

    def read(self, *, deadline_s: float) -> bytes | None:
        """The next bytes; none at the end; None: ask again."""
        if self._export is None:
            return b""
        data = self._export.read()
        if data == b"":
            self.end_export(deadline_s=deadline_s)
        return data

    def end_export(self, *, deadline_s: float) -> None:
        if self._export is not None:
            self._export.close()
            self._export = None

    def _begun(self) -> Staging:
        if self._upload is None:
            raise Refused("this upload is over")
        return self._upload

    def _hidden(self, pool: str) -> Images:
        io = self._cluster.pool(f"{self._cluster.config['pool_prefix']}{pool}")
        return Images(self._cluster.rbd, io, self._cluster.client())

    def _volumes(self, pool: Pool) -> Volumes:
        io = self._cluster.pool(self._pools.name(pool))
        images = Images(self._cluster.rbd, io, self._cluster.client())
        return Volumes(images, Records(self._cluster.rados, io), lambda: self._pools.usage(pool).total_bytes)

    def _monitors(self) -> tuple[tuple[str, int], ...]:
        """By their newer protocol's port."""
        found = []
        for mon in self._cluster.command("mon dump")["mons"]:
            vector = mon["public_addrs"]["addrvec"]
            best = next((one for one in vector if one["type"] == "v2"), vector[0])
            host, _colon, port = str(best["addr"]).rpartition(":")
            found.append((host.strip("[]"), int(port)))
        return tuple(sorted(found))
