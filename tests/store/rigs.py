"""Real servers to hurt: a pvcstored and a ZooKeeper process, a proxy for each client, and the fake without either."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path

from kazoo.client import KazooClient

from pvc_core.store.base import SessionState, Store
from pvc_core.store.codes import WRITES
from pvc_core.store.zookeeper import Credentials, ZooKeeperStore
from pvc_core.testing.contract_store import DEADLINE_S, Capabilities, StoreRig
from pvc_core.testing.store import FakeStore, FakeStoreServer

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _state(stat: Path) -> str:
    """A thread's state as proc(5) names it."""
    return stat.read_text().rpartition(")")[2].split()[0]


class ServerProcess(ABC):
    """A server that can be stopped, continued, killed and started again on the same port and the same data."""

    capabilities: Capabilities

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.log = directory / "server.log"

    @abstractmethod
    def command(self) -> list[str]: ...

    @property
    def hosts(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command(), cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        self.await_ready()

    def await_ready(self, timeout_s: float = 30.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not self.answers():
            assert self.process
            assert self.process.poll() is None, f"the server ended:\n{self.log.read_text()}"
            assert time.monotonic() < end_s, f"the server does not answer:\n{self.log.read_text()}"
            time.sleep(0.02)

    def answers(self) -> bool:
        """A session can be opened."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                sock.sendall(struct.pack(">iiqiqi", 44, 0, 0, 1000, 0, 16) + bytes(16))
                return len(sock.recv(64)) > 16
        except OSError:
            return False

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def stop(self) -> None:
        """None of its threads runs any more: kill() returns before the last of them has heard of it."""
        self.signal(signal.SIGSTOP)
        while any(_state(stat) != "T" for stat in Path(f"/proc/{self.pid}/task").glob("*/stat")):
            time.sleep(0.001)

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def restart(self) -> None:
        self.kill()
        self.start()


class Pvcstored(ServerProcess):
    capabilities = Capabilities(hangs=True, sessions_survive_restart=False)
    secrets = "none"

    def command(self) -> list[str]:
        options = ["--port", str(self.port), "--path", str(self.directory / "store.db"), "--secrets", self.secrets]
        return [
            sys.executable,
            "-m",
            "pvc_core.store.embedded.main",
            "--config",
            str(self.directory / "no.yaml"),
            *options,
        ]


class ZooKeeper(ServerProcess):
    """`users` (name -> password) come by SASL; then nobody else may do anything."""

    capabilities = Capabilities(hangs=True, sessions_survive_restart=True)

    def __init__(self, directory: Path, users: dict[str, str] | None = None) -> None:
        super().__init__(directory)
        self.users = users or {}

    def command(self) -> list[str]:
        settings = [
            "tickTime=500",
            f"dataDir={self.directory}",
            f"clientPort={self.port}",
            "clientPortAddress=127.0.0.1",
        ]
        settings += ["admin.enableServer=false", "maxClientCnxns=0"]
        java = ["java", "-Xms32m", "-Xmx128m", "-XX:+UseSerialGC"]
        if self.users:
            settings += ["authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider"]
            settings += ["enforce.auth.enabled=true", "enforce.auth.schemes=sasl"]
            java.append(f"-Djava.security.auth.login.config={self._jaas()}")
        config = self.directory / "zoo.cfg"
        config.write_text("\n".join(settings) + "\n")
        jars = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-nop.jar"
        return [*java, "-cp", jars, "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)]

    def _jaas(self) -> Path:
        users = "\n".join(f'  user_{name}="{password}"' for name, password in self.users.items())
        path = self.directory / "jaas.conf"
        path.write_text(f"Server {{\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n{users};\n}};\n")
        return path


class Proxy:
    """One client's way to the server: can be cut, and can swallow the answer to a write."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._open = True
        self._swallow = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._open = False
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._end(pair)

    def mend(self) -> None:
        self._open = True

    def swallow_next_answer(self) -> None:
        self._swallow = True

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                if not self._open:
                    raise ConnectionRefusedError
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                client.close()
                continue
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            swallowing = threading.Event()
            threading.Thread(target=self._to_server, args=(pair, swallowing), daemon=True).start()
            threading.Thread(target=self._to_client, args=(pair, swallowing), daemon=True).start()

    def _to_server(self, pair: tuple[socket.socket, socket.socket], swallowing: threading.Event) -> None:
        client, server = pair
        try:
            while data := client.recv(1 << 20):
                if self._swallow and len(data) >= 12 and struct.unpack_from(">i", data, 8)[0] in WRITES:
                    self._swallow = False
                    swallowing.set()
                server.sendall(data)
        except OSError:
            pass
        self._end(pair)

    def _to_client(self, pair: tuple[socket.socket, socket.socket], swallowing: threading.Event) -> None:
        client, server = pair
        try:
            while data := server.recv(1 << 20):
                if swallowing.is_set():
                    break
                client.sendall(data)
        except OSError:
            pass
        self._end(pair)

    def _end(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._pairs.discard(pair)
        for sock in pair:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()


class ProcessRig(StoreRig):
    """Clients of a real server, each through a proxy of its own."""

    def __init__(self, server: ServerProcess, credentials: Credentials | None = None) -> None:
        self.capabilities = server.capabilities
        self._server = server
        self._credentials = credentials
        self._proxies: dict[Store, Proxy] = {}

    def client(self) -> ZooKeeperStore:
        proxy = Proxy(self._server.port)
        store = ZooKeeperStore(
            f"127.0.0.1:{proxy.port}", credentials=self._credentials, session_timeout_s=6.0, call_deadline_s=DEADLINE_S
        )
        self._proxies[store] = proxy
        self.eventually(lambda: store.session().state is SessionState.CONNECTED)
        return store

    def freeze(self) -> None:
        self._server.stop()

    def thaw(self) -> None:
        self._server.signal(signal.SIGCONT)

    def restart(self) -> None:
        self._server.restart()

    def cut(self, store: Store) -> None:
        self._proxies[store].cut()

    def mend(self, store: Store) -> None:
        self._proxies[store].mend()

    def expire(self, store: Store) -> None:
        """As operators do it: whoever shows a session's number and password may close it."""
        assert isinstance(store, ZooKeeperStore)
        twin = KazooClient(self._server.hosts, client_id=store._link.client_id)
        twin.start(10)
        twin.stop()
        twin.close()

    def cut_before_answer(self, store: Store) -> None:
        self._proxies[store].swallow_next_answer()

    def settle(self) -> None:
        pass

    def close(self) -> None:
        self.thaw()
        for store, proxy in self._proxies.items():
            store.close()
            proxy.close()


class FakeRig(StoreRig):
    """The fake can do everything but hang: its calls take no time."""

    capabilities = Capabilities(hangs=False, sessions_survive_restart=False)

    def __init__(self) -> None:
        self._server = FakeStoreServer()

    def client(self) -> FakeStore:
        return self._server.client()

    def freeze(self) -> None:
        self._server.cut()

    def thaw(self) -> None:
        self._server.mend()

    def restart(self) -> None:
        self._server.restart()

    def cut(self, store: Store) -> None:
        assert isinstance(store, FakeStore)
        store.cut()

    def mend(self, store: Store) -> None:
        assert isinstance(store, FakeStore)
        store.mend()

    def expire(self, store: Store) -> None:
        assert isinstance(store, FakeStore)
        store.expire()

    def cut_before_answer(self, store: Store) -> None:
        assert isinstance(store, FakeStore)
        store.lose_next_answer()

    def settle(self) -> None:
        self._server.deliver()
