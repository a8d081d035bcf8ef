"""A clock that tests move, and a real pvcguard and pvcstored in directories of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pvc_core.cluster.layout import HEARTBEATS, PROOFS, VERDICTS
from pvc_core.errors import Conflict, NotFound, StoreUnavailable
from pvc_core.guard.client import Guard
from pvc_core.model.node import Heartbeat
from pvc_core.model.verdict import KeptProof, Verdict
from pvc_core.peer import Unreachable
from pvc_core.schema.records import decode, encode
from pvc_core.store.access import Credentials
from pvc_core.store.base import Create, Put
from pvc_core.store.zookeeper import ZooKeeperStore

WALL = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
UUID = "2b57194c-777e-54d9-9dee-6a6bada3c400"


class HandClock:
    """Stands still until advance()."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def boottime_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return 1_700_000_000.0 + self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


class Node:
    """One machine: its directories, its pvcstored and its pvcguard. Processes are ended by their own ids."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run, self.state, self.secrets = root / "run", root / "state", root / "secrets"
        for directory in (self.state, self.secrets):
            directory.mkdir()
        (self.secrets / "store-node").write_text("the-nodes-password\n")
        (self.secrets / "store-api").write_text("the-apis-password\n")
        self.port = _free_port()
        self.config = root / "pvc.yaml"
        self.config.write_text(self.yaml())
        self.guard = Guard(self.run)
        self.log = root / "guard.log"
        self.guard_process: subprocess.Popen[bytes]
        self._processes: list[subprocess.Popen[bytes]] = []

    def yaml(self) -> str:
        return (
            "cluster: {name: c1, coordinators: [hv1]}\n"
            f"store: {{embedded: {{port: {self.port}, path: {self.state}}}}}\n"
            f"paths: {{run: {self.run}, state: {self.state}, secrets: {self.secrets}}}\n"
            "plugins: {compute_libvirt: {virt_type: qemu}}\n"
        )

    def start_store(self) -> subprocess.Popen[bytes]:
        arguments: list[str | Path] = [
            "--config",
            self.config,
            "--path",
            self.state / "store.db",
            "--secrets",
            self.secrets,
        ]
        return self._start("pvc_core.store.embedded.main", arguments, self.root / "stored.log")

    def start_guard(self, *arguments: str | Path, walled: bool = False) -> subprocess.Popen[bytes]:
        """`walled`: in a PID namespace of its own. One that ends guests must see none of the machine's."""
        given = ["--config", self.config, "--node", "hv1", "--state", self.state, *arguments]
        return self._start("pvc_core.guard.main", given, self.log, WALL if walled else [])

    def heartbeat(self) -> Heartbeat | None:
        """What the store holds now, asked as the API's user; None when there is none."""
        with self.store("api", "the-apis-password") as store:
            try:
                return decode(store.get(HEARTBEATS.key("hv1")).value, Heartbeat)
            except (NotFound, StoreUnavailable):
                return None

    def condemn(self) -> None:
        """As a judge does: over whichever heartbeat is the last."""
        with self.store("node", "the-nodes-password") as store:
            while True:
                entry = store.get(HEARTBEATS.key("hv1"))
                seen = decode(entry.value, Heartbeat)
                life = seen.incarnation
                verdict = Verdict(node="hv1", incarnation=life, by="hv2", term=1, why="a test", coordinators=("hv1",))
                marked = Put(entry.key, encode(replace(seen, condemned=True)), entry.version)
                with contextlib.suppress(Conflict):
                    store.commit([marked, Create(VERDICTS.key(f"hv1@{life}"), encode(verdict))])
                    return

    def word(self, life: str) -> KeptProof | None:
        """The node's own, that its guests of incarnation `life` are gone."""
        with self.store("node", "the-nodes-password") as store:
            try:
                return decode(store.get(PROOFS.key(f"hv1@{life}@word")).value, KeptProof)
            except NotFound:
                return None

    @contextlib.contextmanager
    def store(self, user: str, password: str) -> Iterator[ZooKeeperStore]:
        store = ZooKeeperStore(
            f"127.0.0.1:{self.port}",
            credentials=Credentials(user, password),
            session_timeout_s=4.0,
            call_deadline_s=4.0,
        )
        try:
            yield store
        finally:
            store.close()

    def is_heard(self) -> bool:
        try:
            ago_s = self.guard.status().heard_ago_s
        except Unreachable:
            return False
        return ago_s is not None and ago_s < 2.0

    def close(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def _start(
        self, module: str, arguments: list[str | Path], log: Path, before: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*before, sys.executable, "-m", module, *map(str, arguments)],
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self._processes.append(process)
        return process


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    machine = Node(tmp_path)
    yield machine
    machine.close()


def until(true: Callable[[], bool], wait_s: float = 15.0) -> bool:
    """Whether it became true in time."""
    until_s = time.monotonic() + wait_s
    while time.monotonic() < until_s:
        if true():
            return True
        time.sleep(0.05)
    return False


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
