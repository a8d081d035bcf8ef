# SPDX-License-Identifier: LGPL-3.0-or-later
"""A storage driver in memory: real content, several nodes, faults on demand; no threads, no clock, no files.

One FakeStorageWorld is what outlives daemons; each FakeStorage is the driver of one daemon on one node. It passes
contract_storage.py like any other driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from marshmallow import Schema, fields

from pvc_core.contracts.actions import Progress
from pvc_core.contracts.storage import (
    StorageCapabilities,
    StorageDefinitions,
    StorageDriver,
    Upload,
    adopted_id,
)
from pvc_core.contracts.targets import DiskSource, File
from pvc_core.errors import Exists, Invalid, NotFound, Permanent, PvcError, Refused, Retry
from pvc_core.ids import checked_name
from pvc_core.model.fence import FenceAnswer, WriteFence
from pvc_core.model.storage import Pool, PoolUsage, Snapshot, StorageReport, Volume, VolumeFound
from pvc_core.testing.storage_clients import FakeClients
from pvc_core.testing.storage_diffs import FakeDiff, written
from pvc_core.units import TIB, format_size

ALL_CAPABILITIES = StorageCapabilities(
    disk_sources=(File,), shrink=True, clone=True, thin_clone=True, diffs=True, adopt=True, reports=True,
    snapshots=True, online_snapshots=True, online_resize="driver",
)  # fmt: skip
NO_CAPABILITIES = StorageCapabilities(disk_sources=(File,))


class Crashed(BaseException):
    """The daemon died in the middle of a call. No Exception, so that nothing that catches errors survives it."""


class FakePoolOptions(Schema):
    shared = fields.Boolean(load_default=False)


class FakeStorageDefinitions(StorageDefinitions):
    pool_options = FakePoolOptions

    def __init__(self, capabilities: StorageCapabilities = ALL_CAPABILITIES) -> None:
        self.capabilities = capabilities
        self._options = FakePoolOptions()

    def shared(self, options: Mapping[str, Any]) -> bool:
        return bool(self._options.load(dict(options))["shared"])


@dataclass(frozen=True)
class Content:
    """What a disk holds: `data`, then zeros up to `size_bytes`."""

    data: bytes
    size_bytes: int

    def whole(self) -> bytes:
        return self.data.ljust(self.size_bytes, b"\0")

    def sized(self, size_bytes: int) -> Content:
        return Content(self.data[:size_bytes], size_bytes)

    def written(self, offset: int, data: bytes) -> Content:
        before = self.data[:offset].ljust(offset, b"\0")
        return Content(before + data + self.data[offset + len(data) :], self.size_bytes)


@dataclass
class FakeVolume:
    id: str
    name: str
    content: Content
    snapshots: dict[str, tuple[str, Content]] = field(default_factory=dict)
    """By id: name and content."""
    parent: str = ""
    """Id of the volume it shares data with."""

    def used_bytes(self) -> int:
        return len(self.content.data) + sum(len(kept.data) for _name, kept in self.snapshots.values())

    def found(self) -> VolumeFound:
        names = tuple(name for name, _kept in self.snapshots.values())
        size = self.content.size_bytes
        return VolumeFound(
            name=self.name, size_bytes=size, used_bytes=self.used_bytes(), format="raw", id=self.id, snapshots=names
        )


@dataclass
class Faults:
    """What will go wrong, by call name ("create_volume"). Each is used up by happening once."""

    before: dict[str, PvcError] = field(default_factory=dict)
    """Raised before the call has had any effect."""
    after: dict[str, PvcError] = field(default_factory=dict)
    """Raised when the call has had all its effect: its answer is lost."""
    delays_s: dict[str, float] = field(default_factory=dict)
    """The call takes so long (FakeStorageWorld.sleep is called) before it has any effect."""
    crash_at: int | None = None
    """The daemon dies at so many steps from now; every call has a few."""


@dataclass
class FakeStorageWorld:
    """All bytes there are. `places` holds the volumes by (pool, node), node being "" for a shared pool."""

    definitions: FakeStorageDefinitions = field(default_factory=FakeStorageDefinitions)
    capacity_bytes: int = TIB
    capacity_of: dict[str, int] = field(default_factory=dict)
    """By pool, where it differs from capacity_bytes."""
    sleep: Callable[[float], None] = lambda _seconds: None
    faults: Faults = field(default_factory=Faults)
    places: dict[tuple[str, str], dict[str, FakeVolume]] = field(default_factory=dict)
    clients: FakeClients = field(default_factory=FakeClients)
    """Who has volumes open; the fake itself opens none."""
    name: str = "storage_fake"
    """The plugin's, as it stands in proofs."""
    strangers: list[str] = field(default_factory=list)
    """What lies in every pool besides volumes."""
    staged: list[object] = field(default_factory=list)
    """What is being made; a crash leaves it here, where no list looks."""

    def driver(self, node: str = "hv1") -> FakeStorage:
        """The driver of a daemon that starts now on `node`."""
        self.staged.clear()
        return FakeStorage(self, node)

    def content_of(self, source: DiskSource) -> FakeVolume:
        """The volume a DiskSource of attach leads to, as a guest finds it."""
        if isinstance(source, File):
            for (pool, node), volumes in self.places.items():
                for volume in volumes.values():
                    if source.path == _path(pool, node, volume):
                        return volume
        raise NotFound(f"{source} leads nowhere")

    def guest_writes(self, source: DiskSource, offset: int, data: bytes) -> None:
        volume = self.content_of(source)
        volume.content = volume.content.written(offset, data)

    def step(self) -> None:
        """A moment at which a daemon can die."""
        if self.faults.crash_at is not None:
            self.faults.crash_at -= 1
            if self.faults.crash_at < 0:
                self.faults.crash_at = None
                raise Crashed("killed in the middle of a call to the storage driver")


class FakeUpload(Upload):
    def __init__(self, driver: FakeStorage, pool: Pool, volume: Volume, announced: int | None) -> None:
        self._driver, self._pool, self._volume, self._announced = driver, pool, volume, announced
        self._limit = driver.required(pool, volume).content.size_bytes
        if announced is not None and announced > self._limit:
            raise Refused(f"an image of {announced} bytes does not fit into {volume.ref} of {self._limit}")
        self._data: bytearray | None = bytearray()
        driver.world.staged.append(self)

    def write(self, data: bytes) -> None:
        if self._data is None:
            raise Refused("this upload is over")
        total = len(self._data) + len(data)
        if total > (self._limit if self._announced is None else self._announced):
            self.abort()
            raise Refused(f"more was sent than {self._volume.ref} can take or was announced")
        try:
            self._driver.room(self._pool, "the upload", total)
        except Refused:
            self.abort()
            raise
        self._data += data

    def commit(self, progress: Progress) -> None:
        if self._data is None:
            raise Refused("this upload is over")
        data = bytes(self._data)
        self.abort()
        if self._announced is not None and len(data) != self._announced:
            raise Refused(f"only {len(data)} of {self._announced} bytes arrived")
        with self._driver.call("commit_upload", 60.0):
            volume = self._driver.required(self._pool, self._volume)
            volume.content = Content(data, volume.content.size_bytes)
        progress(1, 1, "the image is in place")

    def abort(self) -> None:
        self._data = None
        if self in self._driver.world.staged:
            self._driver.world.staged.remove(self)


class FakeStorage(StorageDriver):
    """The driver on one node. Change what it does through `world.faults`."""

    def __init__(self, world: FakeStorageWorld, node: str) -> None:
        self.world = world
        self.node = node

    def ensure_pool(self, pool: Pool, *, deadline_s: float) -> None:
        with self.call("ensure_pool", deadline_s):
            self.world.places.setdefault(self._place(pool), {})

    def remove_pool(self, pool: Pool, *, deadline_s: float) -> None:
        with self.call("remove_pool", deadline_s):
            if self.world.places.get(self._place(pool)) or self.world.strangers:
                raise Refused(f'pool "{pool.name}" still holds volumes or what others put there')
            self.world.places.pop(self._place(pool), None)

    def strangers(self, pool: Pool, *, deadline_s: float) -> Sequence[str]:
        with self.call("strangers", deadline_s):
            return list(self.world.strangers)

    def pool_usage(self, pool: Pool, *, deadline_s: float) -> PoolUsage:
        with self.call("pool_usage", deadline_s):
            return self._usage(pool)

    def _usage(self, pool: Pool) -> PoolUsage:
        used, total = self._used(pool), self._capacity(pool)
        return PoolUsage(total_bytes=total, used_bytes=used, free_bytes=total - used, stored_bytes=used)

    def report(self, pools: Sequence[Pool], *, deadline_s: float) -> StorageReport:
        self._declared(self._can.reports, "report")
        with self.call("report", deadline_s):
            volumes = {
                f"{pool.name}/{one.name}": one.used_bytes() for pool in pools for one in self._volumes(pool).values()
            }
            usage = {pool.name: self._usage(pool) for pool in pools}
            return StorageReport(driver=self.world.name, status="all is well", volumes=volumes, usage=usage)

    def list_volumes(self, pool: Pool, *, deadline_s: float) -> list[VolumeFound]:
        with self.call("list_volumes", deadline_s):
            return [one.found() for one in self._volumes(pool).values()]

    def create_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> VolumeFound:
        with self.call("create_volume", deadline_s):
            if volume.size_bytes <= 0:
                raise Refused(f"{volume.size_bytes} bytes is no size")
            return self._made(pool, volume, Content(b"", volume.size_bytes))

    def remove_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> None:
        with self.call("remove_volume", deadline_s):
            volumes = self._volumes(pool)
            if volume.id not in volumes and any(one.name == volume.name for one in volumes.values()):
                raise Refused(f'"{volume.ref}" is another volume now')
            self._has_no_clones(pool, volume)
            volumes.pop(volume.id, None)

    def resize_volume(
        self, pool: Pool, volume: Volume, size_bytes: int, *, in_use: bool, deadline_s: float
    ) -> VolumeFound:
        with self.call("resize_volume", deadline_s):
            found, can = self.required(pool, volume), self._can
            if in_use and not can.online_resize:
                raise Refused("this driver cannot resize a volume in use")
            if size_bytes < found.content.size_bytes and not can.shrink:
                raise Refused("this driver cannot shrink a volume")
            self._fits(pool, size_bytes)
            found.content = found.content.sized(size_bytes)
            return found.found()

    def rename_volume(self, pool: Pool, volume: Volume, new_name: str, *, deadline_s: float) -> None:
        with self.call("rename_volume", deadline_s):
            found = self.required(pool, volume)
            if found.name != new_name:
                self._name_is_free(pool, new_name)
                found.name = new_name

    def attach(self, pool: Pool, volume: Volume, *, vm_uuid: str, read_only: bool, deadline_s: float) -> DiskSource:
        with self.call("attach", deadline_s):
            if volume.home not in ("", self.node) and not self._place(pool)[1] == "":
                raise Refused(f'volume "{volume.ref}" is on {volume.home}, not on {self.node}')
            return File(path=_path(*self._place(pool), self.required(pool, volume)))

    def detach(self, pool: Pool, volume: Volume, *, vm_uuid: str, deadline_s: float) -> None:
        with self.call("detach", deadline_s):
            pass

    def begin_upload(self, pool: Pool, volume: Volume, *, image_format: str, size_bytes: int | None) -> Upload:
        with self.call("begin_upload", 60.0):
            if image_format not in self._can.upload_formats:
                raise Refused(f"images of format {image_format!r} are not taken")
            self._has_no_clones(pool, volume)
            return FakeUpload(self, pool, volume, size_bytes)

    def export_volume(self, pool: Pool, volume: Volume, *, snapshot: str = "") -> Iterator[bytes]:
        with self.call("export_volume", 60.0):
            found = self.required(pool, volume)
            kept = [content for name, content in found.snapshots.values() if name == snapshot]
            if snapshot and not kept:
                raise NotFound(f'volume "{volume.ref}" has no snapshot "{snapshot}"')
            return iter([(kept[0] if snapshot else found.content).whole()])

    def clone_volume(
        self, pool: Pool, source: Volume, target: Volume, *, progress: Progress, deadline_s: float
    ) -> VolumeFound:
        self._declared(self._can.clone, "clone")
        with self.call("clone_volume", deadline_s):
            found = self._made(pool, target, self.required(pool, source).content)
        progress(1, 1, "the copy is complete")
        return found

    def clone_thin(self, pool: Pool, source: Volume, target: Volume, *, deadline_s: float) -> VolumeFound:
        self._declared(self._can.thin_clone, "clone thinly")
        with self.call("clone_thin", deadline_s):
            found = self._made(pool, target, self.required(pool, source).content)
            self.required(pool, target).parent = source.id
        return found

    def flatten_volume(self, pool: Pool, volume: Volume, *, progress: Progress, deadline_s: float) -> None:
        self._declared(self._can.thin_clone, "flatten")
        with self.call("flatten_volume", deadline_s):
            self.required(pool, volume).parent = ""
        progress(1, 1, "it shares nothing any more")

    def export_diff(
        self, pool: Pool, volume: Volume, *, snapshot: str, since: str = "", version: int = 1
    ) -> Iterator[bytes]:
        self._declared(self._can.diffs, "tell what changed")
        with self.call("export_diff", 60.0):
            old = b"".join(self.export_volume(pool, volume, snapshot=since)) if since else b""
            new = b"".join(self.export_volume(pool, volume, snapshot=snapshot))
            return written(old, new, since=since, snapshot=snapshot, version=version)

    def begin_diff(self, pool: Pool, volume: Volume, *, snapshot: Snapshot, since: str = "") -> Upload:
        self._declared(self._can.diffs, "take a diff")
        with self.call("begin_diff", 60.0):
            found = self.required(pool, volume)
            _snapshot_name_is_free(found, snapshot.name)
            kept = next((content for name, content in found.snapshots.values() if name == since), None)
            if since and kept is None:
                raise NotFound(f'volume "{volume.ref}" has no snapshot "{since}"')
            if kept.whole() != found.content.whole() if kept else bool(found.snapshots):
                raise Refused(f'volume "{volume.ref}" is not as the diff must find it')

            def done(content: bytes) -> None:
                with self.call("commit_diff", 60.0):
                    found.content = Content(content, len(content))
                    found.snapshots[snapshot.id] = (snapshot.name, found.content)

            diff = FakeDiff(kept.whole() if kept else b"", since, done, self._unstage)
            self.world.staged.append(diff)
            return diff

    def adopt_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> VolumeFound:
        self._declared(self._can.adopt, "take over a volume")
        with self.call("adopt_volume", deadline_s):
            volumes = self._volumes(pool)
            found = next((one for one in volumes.values() if one.name == volume.name), None)
            if found is None:
                raise NotFound(f'there is no "{volume.ref}" on {self.node}')
            if found.id not in ("", volume.id):
                raise Refused(f'"{volume.ref}" is a volume already')
            if not found.id:
                snaps = found.snapshots.values()
                del volumes[next(key for key, one in volumes.items() if one is found)]
                found.snapshots = {adopted_id(volume.id, name): (name, content) for name, content in snaps}
                found.id = volume.id
                volumes[volume.id] = found
            return found.found()

    def create_snapshot(
        self, pool: Pool, volume: Volume, snapshot: Snapshot, *, in_use: bool, deadline_s: float
    ) -> None:
        self._declared(self._can.snapshots and (not in_use or self._can.online_snapshots), "snapshot in this state")
        with self.call("create_snapshot", deadline_s):
            found = self.required(pool, volume)
            if snapshot.id not in found.snapshots:
                _snapshot_name_is_free(found, snapshot.name)
                self.room(pool, "the snapshot", len(found.content.data))
                found.snapshots[snapshot.id] = (snapshot.name, found.content)

    def remove_snapshot(self, pool: Pool, volume: Volume, snapshot: Snapshot, *, deadline_s: float) -> None:
        self._declared(self._can.snapshots, "snapshot")
        with self.call("remove_snapshot", deadline_s):
            if volume.id in self._volumes(pool):
                self._volumes(pool)[volume.id].snapshots.pop(snapshot.id, None)

    def rename_snapshot(
        self, pool: Pool, volume: Volume, snapshot: Snapshot, new_name: str, *, deadline_s: float
    ) -> None:
        self._declared(self._can.snapshots, "snapshot")
        with self.call("rename_snapshot", deadline_s):
            found = self.required(pool, volume)
            name, content = _snapshot_of(found, snapshot)
            if name != new_name:
                _snapshot_name_is_free(found, new_name)
                found.snapshots[snapshot.id] = (new_name, content)

    def rollback_snapshot(self, pool: Pool, volume: Volume, snapshot: Snapshot, *, deadline_s: float) -> None:
        self._declared(self._can.snapshots, "snapshot")
        with self.call("rollback_snapshot", deadline_s):
            found = self.required(pool, volume)
            found.content = _snapshot_of(found, snapshot)[1]

    def fence_node(self, fence: WriteFence, *, deadline_s: float) -> FenceAnswer:
        self._declared(self._can.storage_fencing, "fence a node")
        with self.call("fence_node", deadline_s):
            return self.world.clients.fence(self.world.name, fence)

    def clients(self, pool: Pool, volume: Volume, *, deadline_s: float) -> Sequence[str]:
        self._declared(self._can.storage_fencing, "say who has a volume open")
        with self.call("clients", deadline_s):
            return self.world.clients.of(self.node, volume.id)

    def shut_out(self, pool: Pool, addresses: Sequence[str], *, deadline_s: float) -> None:
        self._declared(self._can.storage_fencing, "shut clients out")
        with self.call("shut_out", deadline_s):
            self.world.clients.shut_out.update(addresses)

    @contextmanager
    def call(self, name: str, deadline_s: float) -> Iterator[None]:
        """Around every call: the faults that were asked for, and a moment to die before and after its effect."""
        faults = self.world.faults
        delay_s = faults.delays_s.pop(name, 0.0)
        if delay_s:
            self.world.sleep(min(delay_s, deadline_s))
        if delay_s > deadline_s:
            raise Retry(f"{name} did not finish in time")
        if name in faults.before:
            raise faults.before.pop(name)
        self.world.step()
        yield
        self.world.step()
        if name in faults.after:
            raise faults.after.pop(name)

    def required(self, pool: Pool, volume: Volume) -> FakeVolume:
        if volume.id not in self._volumes(pool):
            raise NotFound(f'the bytes of volume "{volume.ref}" are not on {self.node}')
        return self._volumes(pool)[volume.id]

    def room(self, pool: Pool, doing: str, asked_bytes: int) -> None:
        free = self._capacity(pool) - self._used(pool)
        if asked_bytes > free:
            raise Refused(f"{doing} failed: {format_size(asked_bytes)} were asked for, {format_size(free)} are free")

    @property
    def _can(self) -> StorageCapabilities:
        return self.world.definitions.capabilities

    def _place(self, pool: Pool) -> tuple[str, str]:
        return (pool.name, "" if self.world.definitions.shared(pool.options) else self.node)

    def _volumes(self, pool: Pool) -> dict[str, FakeVolume]:
        if self._place(pool) not in self.world.places:
            raise Permanent(f'pool "{pool.name}" is not there on {self.node}')
        return self.world.places[self._place(pool)]

    def _capacity(self, pool: Pool) -> int:
        return self.world.capacity_of.get(pool.name, self.world.capacity_bytes)

    def _used(self, pool: Pool) -> int:
        return sum(one.used_bytes() for one in self._volumes(pool).values())

    def _made(self, pool: Pool, volume: Volume, content: Content) -> VolumeFound:
        volumes = self._volumes(pool)
        if volume.id not in volumes:
            self._name_is_free(pool, volume.name)
            self._fits(pool, content.size_bytes)
            self.room(pool, f"making {volume.ref}", len(content.data))
            made = FakeVolume(volume.id, volume.name, content)
            self.world.staged.append(made)
            self.world.step()
            volumes[volume.id] = made
            self.world.staged.remove(made)
        return volumes[volume.id].found()

    def _fits(self, pool: Pool, size_bytes: int) -> None:
        if size_bytes > self._capacity(pool):
            raise Refused(f"{format_size(size_bytes)} were asked for, the pool has {format_size(self._capacity(pool))}")

    def _name_is_free(self, pool: Pool, name: str) -> None:
        try:
            checked_name(name, "volume")
        except Invalid as error:
            raise Refused(error.message, help=error.help) from None
        if any(one.name == name for one in self._volumes(pool).values()):
            raise Exists(f'there is another volume "{pool.name}/{name}"')

    def _has_no_clones(self, pool: Pool, volume: Volume) -> None:
        clones = [one.name for one in self._volumes(pool).values() if one.parent == volume.id]
        if clones:
            raise Refused(f'thin clones need volume "{volume.ref}": {", ".join(clones)}', help="flatten them first")

    def _unstage(self, what: object) -> None:
        if what in self.world.staged:
            self.world.staged.remove(what)

    def _declared(self, capability: bool, what: str) -> None:
        if not capability:
            raise Refused(f"this driver cannot {what}")


def _path(pool: str, node: str, volume: FakeVolume) -> str:
    return f"/fake/{pool}/{node or 'shared'}/{volume.id}"


def _snapshot_of(volume: FakeVolume, snapshot: Snapshot) -> tuple[str, Content]:
    if snapshot.id not in volume.snapshots:
        raise NotFound(f'volume "{volume.name}" has no snapshot "{snapshot.name}"')
    return volume.snapshots[snapshot.id]


def _snapshot_name_is_free(volume: FakeVolume, name: str) -> None:
    if any(name == taken for taken, _content in volume.snapshots.values()):
        raise Exists(f'volume "{volume.name}" has another snapshot "{name}"')
