# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a storage driver's author gives the conformance suite (contract_storage.py): the world its driver works in."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from pvc_core.contracts.storage import StorageDefinitions, StorageDriver
from pvc_core.contracts.targets import Block, DiskSource, File
from pvc_core.ids import new_uuid
from pvc_core.model.storage import Pool, Snapshot, Volume
from pvc_core.units import MIB

DEADLINE_S = 60.0


class StorageRig(ABC):
    """One pool, empty at the beginning of each test. What stands here without a body must be given, the rest may be."""

    pool: Pool
    definitions: StorageDefinitions
    node = "hv1"
    """The node that `driver` works on; volumes of pools that are not shared have their home here."""
    small_pool: Pool | None = None
    """A pool of at most 64 MiB, to be filled up; without one the questions about space are not asked."""
    unit_bytes = MIB
    """Sizes of the suite's volumes are multiples of this."""
    crash_rounds = 6
    """How often each call is killed in its course."""
    longest_call_s = 0.05
    """A killed call is killed within this time of its beginning."""

    @abstractmethod
    def driver(self) -> StorageDriver:
        """A fresh driver on `node`, as after a restart of the daemon; what it works on is as the one before left it."""

    def driver_elsewhere(self) -> StorageDriver | None:
        """A driver on another node of the same cluster; None if the rig has no second node."""
        return None

    def interrupt(self, call: Callable[[StorageDriver], object], moment: float) -> None:
        """Begin `call` on a fresh driver and kill its daemon in the course of it; `moment` is when, from 0 to 1.

        As it stands it forks a process and kills that with SIGKILL; a driver with its world in memory does better.
        """
        driver = self.driver()
        pid = os.fork()
        if pid == 0:
            _call_and_exit(call, driver)
        time.sleep(moment * self.longest_call_s)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def guest_writes(self, source: DiskSource, offset: int, data: bytes) -> None:
        """Write as a guest would through what attach returned. Made for files and block devices."""
        if isinstance(source, File) and source.format == "qcow2":
            _write_qcow2(source.path, offset, data)
        elif isinstance(source, File | Block):
            with open(source.path, "r+b", buffering=0) as disk:
                os.pwrite(disk.fileno(), data, offset)
        else:
            raise NotImplementedError(f"give the rig a guest_writes for {type(source).__name__}")

    def lose_bytes(self, volume: Volume) -> bool:
        """Destroy the volume's bytes behind the driver's back; False if the rig cannot."""
        return False

    def make_outside(self, name: str, data: bytes) -> bool:
        """Make a volume with this content as PVC would not; False if the rig cannot."""
        return False

    def debris(self) -> Sequence[str]:
        """What lies about in the pool and is no volume: must be empty whenever no call is at work."""
        return ()

    def volume(self, name: str, units: int = 4, pool: Pool | None = None) -> Volume:
        """A new volume's record; nothing is made."""
        where = pool or self.pool
        home = "" if self.definitions.shared(where.options) else self.node
        return Volume(id=new_uuid(), pool=where.name, name=name, size_bytes=units * self.unit_bytes, home=home)


def snapshot(name: str) -> Snapshot:
    return Snapshot(name=name, id=new_uuid(), size_bytes=0)


def pattern(seed: int, size_bytes: int) -> bytes:
    """Data that is the same for the same seed and nowhere repeats."""
    return random.Random(seed).randbytes(size_bytes)


def _call_and_exit(call: Callable[[StorageDriver], object], driver: StorageDriver) -> None:
    """In the forked child: nothing of the test's own machinery may run after the call."""
    try:
        call(driver)
    finally:
        os._exit(0)


def _write_qcow2(path: str, offset: int, data: bytes) -> None:
    """Through qemu-io, which reads the data from a file."""
    with tempfile.NamedTemporaryFile() as source:
        source.write(data)
        source.flush()
        command = f"write -s {source.name} {offset} {len(data)}"
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", command, path], check=True, capture_output=True)
