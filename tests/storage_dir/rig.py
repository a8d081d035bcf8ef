"""Worlds for the conformance suite: storage_dir on real directories and a small tmpfs, and the fake."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pvc_core.contracts.storage import StorageCapabilities, StorageDriver
from pvc_core.contracts.targets import DiskSource
from pvc_core.model.storage import Pool, Volume
from pvc_core.testing.context import FakeContext, FakeState
from pvc_core.testing.storage import Content, Crashed, FakeStorageDefinitions, FakeStorageWorld, FakeVolume
from pvc_core.testing.storage_rig import StorageRig
from pvc_core.units import MIB
from pvc_storage_dir.definitions import DirDefinitions
from pvc_storage_dir.driver import DirStorage

SMALL_BYTES = 48 * MIB


class DirRig(StorageRig):
    """Two nodes. In a pool that is not shared each has directories of its own, as on two machines."""

    def __init__(self, tmp_path: Path, options: dict[str, str], small: str = "") -> None:
        self.definitions = DirDefinitions()
        self.pool = Pool(name="vms", driver="storage_dir", options=options)
        self.state = FakeState()
        self._tmp_path = tmp_path
        if small:
            self.small_pool = Pool(name="small", driver="storage_dir", options={**options, "path": small})

    def driver(self) -> DirStorage:
        return self._driver("hv1")

    def driver_elsewhere(self) -> DirStorage:
        return self._driver("hv2")

    def lose_bytes(self, volume: Volume) -> bool:
        for disk in (self.root / volume.name).glob("disk.*"):
            disk.unlink()
        return True

    def debris(self) -> Sequence[str]:
        staged = [str(path) for path in self.root.glob(".pvc/staging/*/*")]
        new = [str(path) for path in self.root.rglob("*.new")]
        return staged + new

    @property
    def root(self) -> Path:
        return Path(self.pool.options.get("path", str(self._tmp_path / "hv1" / self.pool.name)))

    def _driver(self, node: str) -> DirStorage:
        return DirStorage(FakeContext({"path": str(self._tmp_path / node)}, node=node, state=self.state))


class FakeRig(StorageRig):
    """The fake dies inside the process: no fork, and every step of a call is a moment to die at."""

    crash_rounds = 12

    def __init__(self, capabilities: StorageCapabilities, options: dict[str, str] | None = None) -> None:
        self.definitions = FakeStorageDefinitions(capabilities)
        self.world = FakeStorageWorld(definitions=self.definitions, capacity_of={"small": SMALL_BYTES})
        self.pool = Pool(name="vms", driver="fake", options=options or {})
        self.small_pool = Pool(name="small", driver="fake")

    def driver(self) -> StorageDriver:
        return self.world.driver("hv1")

    def driver_elsewhere(self) -> StorageDriver:
        return self.world.driver("hv2")

    def interrupt(self, call: Callable[[StorageDriver], object], moment: float) -> None:
        self.world.faults.crash_at = int(moment * 6)
        try:
            call(self.driver())
        except Crashed:
            return
        finally:
            self.world.faults.crash_at = None

    def guest_writes(self, source: DiskSource, offset: int, data: bytes) -> None:
        self.world.guest_writes(source, offset, data)

    def make_outside(self, name: str, data: bytes) -> bool:
        volumes = self.world.places[(self.pool.name, "" if self.pool.options else "hv1")]
        made = FakeVolume("", name, Content(data, len(data)))
        made.snapshots["theirs"] = ("before", made.content)
        volumes["outside"] = made
        return True

    def debris(self) -> Sequence[str]:
        return [repr(one) for one in self.world.staged]


@contextmanager
def small_file_system(size_bytes: int = SMALL_BYTES) -> Iterator[str]:
    """A tmpfs in a mount namespace of its own, reached through /proc: nothing of the machine changes."""
    script = (
        f"mount -t tmpfs -o size={size_bytes},mode=755 tmpfs /mnt && mkdir /mnt/pool && echo ready && exec sleep 3600"
    )
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "ready\n"
            yield f"/proc/{holder.pid}/root/mnt/pool"
        finally:
            holder.kill()


def may_mount() -> bool:
    return os.geteuid() == 0 and shutil.which("unshare") is not None
