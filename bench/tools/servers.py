"""A real pvcstored and real pvcapids in a directory of their own, on free ports of loopback; and a relay that counts
what an API asks of the store.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from lab.state import REPOSITORY
from pvc_core.clock import SystemClock
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.config import load
from pvc_core.daemon.life import prepare
from pvc_core.daemon.opening import open_store
from pvc_core.founding.secrets import ensure_secrets
from pvc_core.services.keys import KeyService

NODE = "hv1"
PING = -2
"""The xid of a ping in ZooKeeper's protocol; a client that has nothing to ask sends one now and then."""

CONFIG = """
cluster: {{name: bench, coordinators: [hv1]}}
store: {{embedded: {{port: {store_port}, path: {place}}}}}
host_networks:
  upstream: {{device: eth0}}
  storage: {{device: eth1}}
plugins:
  compute_libvirt: {{virt_type: qemu}}
  storage_dir: {{path: {place}/volumes}}
  api_falcon: {{listen: 127.0.0.1, port: {api_port}, socket: {place}/api-{api_port}.sock}}
use:
  compute: compute_libvirt
  default_pool: {{name: vms, driver: storage_dir}}
paths: {{state: {place}, run: {place}, secrets: {place}/secrets, log: {place}}}
"""


class Servers:
    """One store; as many APIs as are started. Every process is ended by `close`."""

    def __init__(self, place: Path) -> None:
        self.place, self.store_port = place, free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        ensure_secrets(place / "secrets")
        self._run("pvc_core.store.embedded.main", "--secrets", str(place / "secrets"), config=self._config(0))
        await_port(self.store_port)
        self.store = open_store(load(self._config(0), node=NODE), "node")
        self.repository = Repository(self.store)
        prepare(self.store, "bench")
        keeper = ViewKeeper(self.store, SystemClock())
        self.key = KeyService(self.repository, keeper, SystemClock()).add("bench", "admin")
        keeper.stop()

    def start_api(self, *, store_port: int = 0) -> tuple[subprocess.Popen[bytes], int]:
        """A pvcapid, just launched, and the port it will answer at."""
        port = free_port()
        config = self._config(port, store_port or self.store_port)
        return self._run("pvc_core.daemon.apid", "--node", NODE, config=config), port

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        process.wait(20)

    def close(self) -> None:
        self.store.close()
        for process in reversed(self._processes):
            if process.poll() is None:
                self.stop(process)

    def _config(self, api_port: int, store_port: int = 0) -> Path:
        path = self.place / f"pvc-{api_port}.yaml"
        words = {"api_port": api_port or 7370, "store_port": store_port or self.store_port, "place": self.place}
        path.write_text(CONFIG.format(**words))
        return path

    def _run(self, module: str, *arguments: str, config: Path) -> subprocess.Popen[bytes]:
        """As the console script does; the virtualenv's own need not be on the path."""
        code = f"import sys; from {module} import main; sys.exit(main())"
        argv = [sys.executable, "-c", code, "--config", str(config), *arguments]
        with (self.place / "log").open("ab") as log:
            process = subprocess.Popen(argv, cwd=REPOSITORY, stdout=log, stderr=log)
        self._processes.append(process)
        return process


@contextlib.contextmanager
def servers(place: Path) -> Iterator[Servers]:
    made = Servers(place)
    try:
        yield made
    finally:
        made.close()


class Relay:
    """Between one client and the store; counts the client's requests, except pings."""

    def __init__(self, store_port: int) -> None:
        self.requests = 0
        self._store = store_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                store = socket.create_connection(("127.0.0.1", self._store))
                threading.Thread(target=self._count, args=(client, store), daemon=True).start()
                threading.Thread(target=self._copy, args=(store, client), daemon=True).start()

    def _count(self, client: socket.socket, store: socket.socket) -> None:
        """Frames of ZooKeeper's protocol: a length, then a request whose first word is its xid."""
        first = True
        with contextlib.suppress(OSError), client.makefile("rb") as frames, _ending(store):
            while len(head := frames.read(4)) == 4:
                frame = frames.read(struct.unpack(">i", head)[0])
                if not first and struct.unpack(">i", frame[:4])[0] != PING:
                    self.requests += 1
                store.sendall(head + frame)
                first = False  # the first frame opens the session and has no xid

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError), _ending(sink):
            while piece := source.recv(1 << 16):
                sink.sendall(piece)


@contextlib.contextmanager
def _ending(sock: socket.socket) -> Iterator[None]:
    """Closed at both ends when done: close() alone would wait for the other thread that reads from it."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def await_port(port: int, deadline_s: float = 20.0) -> None:
    ends_s = time.monotonic() + deadline_s
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > ends_s:
            raise RuntimeError(f"nothing answers at port {port} after {deadline_s:.0f} s")
        time.sleep(0.02)


def busy_s(pid: int) -> float:
    """How long the threads of a process that live now have been on a processor: what a loaded machine distorts least.

    Linux's Documentation/scheduler/sched-stats: the first word of schedstat, in nanoseconds.
    """
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def proportional_kib(pid: int) -> int:
    """PSS: what a process costs, shared pages counted by their share."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
