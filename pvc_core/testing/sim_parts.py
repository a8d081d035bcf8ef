# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a simulated daemon stands on: fakes that know when it dies, and that note what must never be done."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from pvc_core.cluster.view import ViewKeeper
from pvc_core.contracts.plugin import Plugin
from pvc_core.contracts.storage import Upload
from pvc_core.contracts.targets import DiskSource, File
from pvc_core.errors import Refused, Retry
from pvc_core.hookspecs import hookimpl
from pvc_core.model.storage import Pool, Volume, VolumeFound, VolumePhase
from pvc_core.testing.compute import FakeHost
from pvc_core.testing.compute_text import FakeComputeDefinitions
from pvc_core.testing.sim_stage import Stage
from pvc_core.testing.storage import Crashed, FakeStorage, FakeStorageDefinitions, FakeStorageWorld
from pvc_core.testing.store import FakeStore, FakeStoreServer

T = TypeVar("T")

"""The simulated node has none: statistics of the machine's own would make runs differ."""


class QuietLog:
    """Keeps what was said, for the message of a failed run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def _say(self, text: str, **fields: object) -> None:
        self.lines.append(f"{text} {fields}")

    def exception(self, text: str, **fields: object) -> None:
        self.lines.append(f"{text} {fields}\n{traceback.format_exc()}")

    info = warning = error = debug = _say

    def bind(self, **_: object) -> QuietLog:
        return self


class FakePlugin(Plugin):
    """The definitions halves of the fakes, as one plugin."""

    name = "fake"

    def __init__(self) -> None:
        super().__init__({})
        self._compute, self._storage = FakeComputeDefinitions(), FakeStorageDefinitions()

    @property
    def compute(self) -> FakeComputeDefinitions:
        return self._compute

    @property
    def storage(self) -> FakeStorageDefinitions:
        return self._storage


class Moody:
    """A plugin whose hooks object, fail or do nothing, as the seed says."""

    def __init__(self, moody: Callable[[], bool]) -> None:
        self._moody = moody

    @hookimpl
    def pvc_check_vm_start(self) -> None:
        if self._moody():
            raise Refused("not today") if self._moody() else ValueError("a bug of the plugin's")

    @hookimpl
    def pvc_vm_started(self) -> None:
        if self._moody():
            raise ValueError("a bug of the plugin's")

    @hookimpl
    def pvc_volume_created(self) -> None:
        if self._moody():
            raise ValueError("a bug of the plugin's")


class MortalStore(FakeStore):
    """A daemon's client: every call is a moment at which its thread may stop, each write one at which it may die."""

    def __init__(self, server: FakeStoreServer, name: str, stage: Stage | None = None) -> None:
        super().__init__(server, name)
        self._stage = stage
        self.dies_in: int | None = None
        server.clients.append(self)

    def forget_faults(self) -> None:
        """What was to go wrong with the next write does not."""
        self._next_write, self.dies_in = None, None

    def _call(self, verb: str, key: str, deadline_s: float | None, work: Callable[[Any], T]) -> T:
        if self._stage is not None:
            self._stage.pause()
        return super()._call(verb, key, deadline_s, work)

    def _write(self, verb: str, key: str, deadline_s: float | None, work: Callable[[Any], T]) -> T:
        self._moment()
        answer = super()._write(verb, key, deadline_s, work)
        self._moment()
        return answer

    def _moment(self) -> None:
        if self.dies_in is None:
            return
        self.dies_in -= 1
        if self.dies_in < 0:
            self.dies_in = None
            if self._stage is not None:
                self._stage.dead = True
            raise Crashed("killed around a write")


class SimKeeper(ViewKeeper):
    """Read by one thread alone, as in the daemon."""

    stage: Stage

    def step(self) -> bool:
        with self.stage.whole():
            return super().step()


class SimCalls:
    """Calls into drivers: another thread may go on before and after each. `about_to` is told of each beforehand."""

    def __init__(self, stage: Stage, about_to: Callable[[str], None] = lambda _what: None) -> None:
        self._stage, self._about_to = stage, about_to

    def __call__(self, object: str, what: str, deadline_s: float, call: Callable[[], T]) -> T:
        self._about_to(what)
        self._stage.pause()
        try:
            answer = call()
        except Crashed:
            self._stage.dead = True
            raise
        self._stage.pause()
        return answer


class SimPermits:
    """The guard of one node in one incarnation: it remembers generations, as the real one does."""

    def __init__(self) -> None:
        self.host: FakeHost | None = None
        self.refuses = False
        """The node's own deadline has passed."""
        self.away = False
        self._highest: dict[str, int] = {}

    def permit(self, uuid: str, *, generation: int, kind: str = "start", for_s: float = 30.0) -> float:
        self._demand_there()
        if self.refuses:
            raise Refused("no guest may start here: the store has not heard this node for its limit")
        if generation < self._highest.get(uuid, -1):
            raise Refused(f"no permit for {uuid} with generation {generation}: a later one was permitted before")
        self._highest[uuid] = generation
        if self.host is not None:
            self.host.permits[uuid] = generation
        return for_s

    def revoke(self, uuid: str) -> bool:
        self._demand_there()
        return self.host is not None and self.host.permits.pop(uuid, None) is not None

    def _demand_there(self) -> None:
        if self.away:
            raise Retry("the guard does not answer", again_in_s=1.0)


class SimDisks(FakeStorageWorld):
    """All disks. `open` says which a guest has open; what must never be done to such a one is noted in `wrongs`."""

    def __init__(self, open: Callable[[], set[str]]) -> None:
        super().__init__()
        self.open = open
        self.was_ready: set[str] = set()
        """Ids of volumes that were READY once: never to be made again."""
        self.attached: set[tuple[str, str]] = set()
        """(VM, volume id) as the node has them attached, running or not."""
        self.wrongs: list[str] = []

    def driver(self, node: str = "hv1") -> SimStorage:
        self.staged.clear()
        return SimStorage(self, node)

    def ids(self) -> set[str]:
        return {id for volumes in self.places.values() for id in volumes}


class SimStorage(FakeStorage):
    world: SimDisks

    def create_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> VolumeFound:
        if volume.phase is VolumePhase.READY:
            self.world.wrongs.append(f"volume {volume.ref} is READY and was to be created again")
        return super().create_volume(pool, volume, deadline_s=deadline_s)

    def attach(self, pool: Pool, volume: Volume, *, vm_uuid: str, read_only: bool, deadline_s: float) -> DiskSource:
        source = super().attach(pool, volume, vm_uuid=vm_uuid, read_only=read_only, deadline_s=deadline_s)
        self.world.attached.add((vm_uuid, volume.id))
        return source

    def detach(self, pool: Pool, volume: Volume, *, vm_uuid: str, deadline_s: float) -> None:
        super().detach(pool, volume, vm_uuid=vm_uuid, deadline_s=deadline_s)
        self.world.attached.discard((vm_uuid, volume.id))

    def remove_volume(self, pool: Pool, volume: Volume, *, deadline_s: float) -> None:
        self._closed(pool, volume, "removed")
        super().remove_volume(pool, volume, deadline_s=deadline_s)

    def rename_volume(self, pool: Pool, volume: Volume, new_name: str, *, deadline_s: float) -> None:
        self._closed(pool, volume, "renamed")
        super().rename_volume(pool, volume, new_name, deadline_s=deadline_s)

    def rollback_snapshot(self, pool: Pool, volume: Volume, snapshot: Any, *, deadline_s: float) -> None:
        self._closed(pool, volume, "rolled back")
        super().rollback_snapshot(pool, volume, snapshot, deadline_s=deadline_s)

    def clone_volume(self, pool: Pool, source: Volume, target: Volume, **rest: Any) -> Any:
        self._closed(pool, source, "copied")
        return super().clone_volume(pool, source, target, **rest)

    def resize_volume(self, pool: Pool, volume: Volume, size_bytes: int, *, in_use: bool, deadline_s: float) -> Any:
        if not in_use:
            self._closed(pool, volume, "resized as if unused")
        return super().resize_volume(pool, volume, size_bytes, in_use=in_use, deadline_s=deadline_s)

    def begin_upload(self, pool: Pool, volume: Volume, *, image_format: str, size_bytes: int | None) -> Upload:
        self._closed(pool, volume, "overwritten")
        return super().begin_upload(pool, volume, image_format=image_format, size_bytes=size_bytes)

    def _made(self, pool: Pool, volume: Volume, content: Any) -> Any:
        if volume.id in self.world.was_ready and volume.id not in self._volumes(pool):
            self.world.wrongs.append(f"volume {volume.ref} was created again: its bytes were there and are gone")
        return super()._made(pool, volume, content)

    def _closed(self, pool: Pool, volume: Volume, verb: str) -> None:
        if volume.id in self.world.open():
            self.world.wrongs.append(f"volume {volume.ref} was {verb} while a guest had it open")


def open_volumes(host: FakeHost) -> list[str]:
    """Ids of the volumes that guests have open, once for each guest."""
    return [
        source.path.rpartition("/")[2]
        for guest in host.guests.values()
        for source in guest.disks.values()
        if isinstance(source, File)
    ]
