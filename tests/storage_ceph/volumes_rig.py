"""What the conformance suites need of storage_ceph: a pool of the real Ceph, emptied before each test."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.ceph_make import Ceph
from pvc_core.contracts.storage import StorageDriver
from pvc_core.contracts.targets import DiskSource, Rbd
from pvc_core.model.storage import Pool, Volume
from pvc_core.testing.context import FakeContext, FakeState
from pvc_core.testing.storage_rig import DEADLINE_S, StorageRig
from pvc_storage_ceph.bindings import load
from pvc_storage_ceph.definitions import CephDefinitions
from pvc_storage_ceph.driver import CephStorage

POOL = "vms"


class Admin:
    """The tests' own connection, beside the driver's children."""

    def __init__(self, ceph: Ceph) -> None:
        self.rados, self.rbd = load()
        self.handle = self.rados.Rados(conffile=str(ceph.conf), name="client.admin", conf={"log_file": ""})
        self.handle.connect()

    def io(self, pool: str) -> Any:
        return self.handle.open_ioctx(pool)

    def names(self, pool: str) -> list[str]:
        if not self.handle.pool_exists(pool):
            return []
        with self.io(pool) as io:
            return list(self.rbd.RBD().list(io))

    def look_again(self, pool: str) -> None:
        """The OSDs read anew who has images open. One that was killed just as it opened an image may stand in Ceph's
        records and in no OSD's memory: then nobody misses it, ever, though it is shut out (seen with Ceph 16).
        """
        with self.io(pool) as io:
            for name in self.rbd.RBD().list(io):
                with self.rbd.Image(io, name, read_only=True) as image:
                    watched, header = bool(list(image.watchers_list())), f"rbd_header.{image.id()}"
                if watched:
                    place = self._command("osd map", pool=pool, object=header)
                    self._command("pg repeer", pgid=json.loads(place)["pgid"])

    def _command(self, prefix: str, **words: str) -> bytes:
        code, out, said = self.handle.mon_command(json.dumps({"prefix": prefix, "format": "json", **words}), b"")
        assert code == 0, f"{prefix}: {said}"
        return bytes(out)

    def empty(self, pool: str) -> None:
        """Images with their snapshots, then all other objects, without asking what they are."""
        if not self.handle.pool_exists(pool):
            return
        with self.io(pool) as io:
            for name in self.rbd.RBD().list(io):
                self._remove(io, name)
            for one in list(io.list_objects()):
                with suppress(self.rados.ObjectNotFound):  # only its snapshots are left, and go by themselves
                    io.remove_object(one.key)

    def _remove(self, io: Any, name: str) -> None:
        with suppress(self.rbd.ImageNotFound):
            with self.rbd.Image(io, name) as image:
                for snap in image.list_snaps():
                    image.remove_snap(snap["name"])
            self._remove_idle(io, name)

    def _remove_idle(self, io: Any, name: str) -> None:
        """A client that was killed may hold it open for half a minute more."""
        end = time.monotonic() + 60
        while True:
            try:
                return self.rbd.RBD().remove(io, name)
            except self.rbd.ImageBusy:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)


class CephRig(StorageRig):
    """Two nodes of one cluster. One rig serves a whole module: `begin` before each test, `end` after the last."""

    crash_rounds = 2
    longest_call_s = 0.4

    def __init__(self, ceph: Ceph, admin: Admin, directory: Path) -> None:
        self.definitions = CephDefinitions()
        self.pool = Pool(name=POOL, driver="storage_ceph", pgs=8)
        self._ceph, self._admin, self._directory = ceph, admin, directory
        self._state = FakeState()
        self._drivers: dict[str, CephStorage] = {}
        self._made: list[CephStorage] = []

    def begin(self) -> None:
        """The pool is empty."""
        self._admin.empty(POOL)

    def config(self, node: str) -> dict[str, str]:
        return {
            "conf": str(self._ceph.conf),
            "user": "admin",
            "keyring": "",
            "pool_prefix": "",
            "state": str(self._directory / node),
        }

    def driver(self) -> CephStorage:
        """The same one as long as nothing was killed: it keeps nothing that a new one would not have."""
        return self._driver("hv1")

    def driver_elsewhere(self) -> CephStorage:
        return self._driver("hv2")

    def interrupt(self, call: Callable[[StorageDriver], object], moment: float) -> None:
        """Killed in the call, not while its child still connects."""
        ready, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            driver = CephStorage(FakeContext(self.config("hv1"), node="hv1", state=self._state))
            try:
                driver.ensure_pool(self.pool, deadline_s=DEADLINE_S)
                os.write(told, b"r")
                call(driver)
            finally:
                os._exit(0)
        os.read(ready, 1)
        os.close(ready)
        os.close(told)
        time.sleep(moment * self.longest_call_s)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.end()  # the drivers of a new daemon are new
        self._await_the_dead()

    def guest_writes(self, source: DiskSource, offset: int, data: bytes) -> None:
        """Through QEMU's own rbd driver, with the key that the node's guests have."""
        assert isinstance(source, Rbd)
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            url = f"rbd:{source.pool}/{source.image}:conf={self._ceph.conf}:id={source.user}:keyfile={source.key_file}"
            command = f"write -s {file.name} {offset} {len(data)}"
            subprocess.run(["qemu-io", "-f", "raw", "-c", command, url], check=True, capture_output=True)

    def lose_bytes(self, volume: Volume) -> bool:
        with self._admin.io(POOL) as io:
            self._admin.rbd.RBD().remove(io, volume.name)
        return True

    def make_outside(self, name: str, data: bytes) -> bool:
        """With the features of an old Ceph, and a snapshot."""
        with self._admin.io(POOL) as io:
            self._admin.rbd.RBD().create(io, name, len(data), old_format=False, features=1)
            with self._admin.rbd.Image(io, name) as image:
                image.write(data, 0)
                image.create_snap("before")
        return True

    def debris(self) -> Sequence[str]:
        return [name for name in self._admin.names(POOL) if name.startswith(".")]

    def end(self) -> None:
        """Of the drivers that were replaced, too: whoever still has one may have asked it anew, and its child lives."""
        for driver in self._made:
            driver.close()
        self._drivers.clear()

    def _await_the_dead(self) -> None:
        """A child ends as soon as it sees that its daemon is dead; a new daemon takes longer than that to start."""
        end = time.monotonic() + 20
        while time.monotonic() < end and any(_is_held(note) for note in self._directory.glob("*/calls/*")):
            time.sleep(0.02)
        self._admin.look_again(POOL)

    def _driver(self, node: str) -> CephStorage:
        if node not in self._drivers:
            self._drivers[node] = CephStorage(FakeContext(self.config(node), node=node, state=self._state))
            self._made.append(self._drivers[node])
        return self._drivers[node]


def _is_held(note: Path) -> bool:
    try:
        with note.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
