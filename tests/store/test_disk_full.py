"""The disk is full: the write that does not fit is refused, nothing of it is there, the server lives on.

The disk is a small file system in memory, in a mount namespace of the test's own.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvc_core.errors import StoreUnavailable
from pvc_core.store.base import Create, Put
from pvc_core.store.zookeeper import ZooKeeperStore

from .rigs import Pvcstored

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a file system in a namespace of its own"),
]


class OnSmallDisk(Pvcstored):
    """pvcstored in the mount namespace that a sleeping process holds."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.disk = directory / "disk"
        self.disk.mkdir()
        script = f"mount -t tmpfs -o size=4m tmpfs {self.disk} && echo mounted && exec sleep 600"
        holder = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        self.holder = subprocess.Popen(holder, stdout=subprocess.PIPE)
        assert self.holder.stdout
        assert self.holder.stdout.readline() == b"mounted\n"

    def command(self) -> list[str]:
        path = ["--path", str(self.disk / "store.db")]
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", f"--wd={os.getcwd()}", *super().command(), *path]

    def file(self, name: str) -> Path:
        """A file on the small disk, seen from outside."""
        return Path(f"/proc/{self.holder.pid}/root{self.disk}/{name}")

    def close(self) -> None:
        self.kill()
        self.holder.kill()
        self.holder.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OnSmallDisk]:
    server = OnSmallDisk(tmp_path)
    server.file("filler").write_bytes(bytes(2 << 20))
    server.start()
    yield server
    server.close()


def _fill(store: ZooKeeperStore) -> StoreUnavailable:
    for number in range(100):
        try:
            store.commit([Create(f"/full/{number}", bytes(100_000)), Put("/count", b"%d" % number, None)])
        except StoreUnavailable as error:
            return error
    raise AssertionError("the disk took everything")


def test_a_full_disk_refuses_and_lives(server: OnSmallDisk) -> None:
    store = ZooKeeperStore(server.hosts, call_deadline_s=5.0)
    woken: list[str | None] = []
    try:
        store.create("/count", b"")
        refused = _fill(store)
        assert refused.maybe_written is False
        assert "disk" in refused.message
        before = store.tree("/")
        store.watch("/", woken.append)
        with pytest.raises(StoreUnavailable):
            store.put("/count", bytes(900_000), if_version=None)
        with pytest.raises(StoreUnavailable):
            store.create("/more", bytes(900_000), ephemeral=False)
        store.close()
        store = ZooKeeperStore(server.hosts, call_deadline_s=5.0)
        assert store.tree("/") == before
        assert set(woken) == {None}, "nobody hears of what was refused"

        server.restart()
        store.close()
        store = ZooKeeperStore(server.hosts, call_deadline_s=5.0)
        assert store.tree("/") == before, "what was refused came back, or what was kept is gone"

        server.file("filler").unlink()
        store.put("/count", bytes(900_000), if_version=None)
        server.restart()
        store.close()
        store = ZooKeeperStore(server.hosts, call_deadline_s=5.0)
        assert len(store.get("/count").value) == 900_000
    finally:
        store.close()


def test_on_a_full_disk_only_what_does_not_fit_is_refused(server: OnSmallDisk) -> None:
    """Requests of one batch share a transaction; when it fails they are tried one by one."""
    store = ZooKeeperStore(server.hosts, call_deadline_s=5.0)
    clients = [ZooKeeperStore(server.hosts, call_deadline_s=5.0) for _ in range(6)]
    outcomes: dict[str, bool] = {}

    def write(client: ZooKeeperStore, key: str, size: int) -> None:
        for number in range(15):
            try:
                client.create(f"/mix/{key}-{number}", bytes(size))
                outcomes[f"/mix/{key}-{number}"] = True
            except StoreUnavailable as error:
                assert error.maybe_written is False
                outcomes[f"/mix/{key}-{number}"] = False

    try:
        store.create("/mix", b"")
        store.create("/count", b"")
        _fill(store)
        sizes = [10, 700_000, 10, 800_000, 10, 900_000]
        threads = [
            threading.Thread(target=write, args=(client, f"c{index}", size))
            for index, (client, size) in enumerate(zip(clients, sizes, strict=True))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert set(outcomes.values()) == {True, False}, "both must have happened for this test to say something"
        server.kill()
        server.file("filler").unlink()
        server.start()
        store.close()
        store = ZooKeeperStore(server.hosts, call_deadline_s=5.0)
        assert set(store.tree("/mix")) - {"/mix"} == {key for key, kept in outcomes.items() if kept}
    finally:
        for client in (store, *clients):
            client.close()


def test_without_a_free_byte_it_says_so_and_does_not_begin(server: OnSmallDisk) -> None:
    """It must count its start on the disk, or numbers could come twice."""
    server.kill()
    with server.file("rest").open("wb", buffering=0) as rest:
        try:
            while rest.write(bytes(4096)):
                pass
        except OSError:
            pass
    with pytest.raises(AssertionError, match="free some space"):
        server.start()
    server.file("rest").unlink()
    server.start()
