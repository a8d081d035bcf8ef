"""Many light nodes (light_node.py) on a real ZooKeeper, each a process of its own; and what they cost."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

from bench.tools.records import MARKED, bare_definition, name
from bench.tools.servers import await_port, busy_s, free_port, proportional_kib
from lab.state import REPOSITORY
from pvc_core.clock import SystemClock
from pvc_core.cluster import layout
from pvc_core.cluster.repository import Add, Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.daemon.life import prepare
from pvc_core.daemon.opening import grants
from pvc_core.errors import PvcError, StoreUnavailable
from pvc_core.founding.secrets import STORE_API, STORE_NODE, ensure_secrets, read_secret
from pvc_core.model.cluster import NameIndex
from pvc_core.model.vm import Phase, Tag, VmWanted, Want
from pvc_core.services.keys import KeyService
from pvc_core.store.zookeeper import Credentials, ZooKeeperStore

COORDINATORS = ("hv1", "hv2", "hv3")
AT_ONCE = 25
MEMORY_MIB = 64
"""Of each guest: the nodes share one machine's memory, and all must fit."""

CONFIG = """
cluster: {{name: bench, coordinators: [{coordinators}]}}
store: {{zookeeper: {{port: {store_port}, tls: false}}}}
plugins:
  compute_libvirt: {{virt_type: qemu}}
  storage_dir: {{path: {place}/volumes}}
  api_falcon: {{listen: 127.0.0.1, port: {api_port}, socket: {place}/api-{api_port}.sock}}
use:
  compute: compute_libvirt
  default_pool: {{name: vms, driver: storage_dir}}
paths: {{state: {place}/{node}, run: {place}/{node}, secrets: {place}/secrets, log: {place}}}
"""


@dataclass(frozen=True)
class Report:
    """What a node wrote when it ended."""

    seen: dict[str, float]
    late_s: float


@dataclass(frozen=True)
class Cost:
    """Of one node's process over a while."""

    busy_share: float
    """Of one core."""
    pss_mib: float


class ZooKeeper:
    """One server on loopback; nobody may do anything who is not one of the cluster's two identities."""

    def __init__(self, place: Path) -> None:
        self.place, self.port = place / "zookeeper", free_port()
        self.place.mkdir()
        secrets = place / "secrets"
        ensure_secrets(secrets)
        self._users = {"node": read_secret(secrets, STORE_NODE), "api": read_secret(secrets, STORE_API)}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def hosts(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it listens."""
        provider = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
        words = ["tickTime=500", f"dataDir={self.place}", f"clientPort={self.port}", "clientPortAddress=127.0.0.1"]
        words += [
            "admin.enableServer=false",
            "maxClientCnxns=0",
            "clientPortListenBacklog=1024",
            f"authProvider.sasl={provider}",
        ]
        words += ["enforce.auth.enabled=true", "enforce.auth.schemes=sasl"]
        (self.place / "zoo.cfg").write_text("\n".join(words) + "\n")
        users = "\n".join(f'  user_{user}="{password}"' for user, password in self._users.items())
        jaas = self.place / "jaas.conf"
        jaas.write_text(f"Server {{\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n{users};\n}};\n")
        jars = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-nop.jar"
        # In a cluster it has a machine of its own: here fifty nodes' processes shall not take its processor away.
        java = ["nice", "-n", "-15", "java", "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC"]
        main = [
            f"-Djava.security.auth.login.config={jaas}",
            "-cp",
            jars,
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            str(self.place / "zoo.cfg"),
        ]
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen([*java, *main], stdout=log, stderr=log)
        await_port(self.port)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def counted(self) -> tuple[int, int]:
        """(packets received, transactions) so far."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as line:
            line.sendall(b"srvr")
            text = b"".join(iter(lambda: line.recv(4096), b"")).decode()
        received = re.search(r"Received: (\d+)", text)
        zxid = re.search(r"Zxid: 0x([0-9a-f]+)", text)
        if received is None or zxid is None:
            raise RuntimeError(f"ZooKeeper answers srvr with {text!r}")
        return int(received[1]), int(zxid[1], 16) & 0xFFFFFFFF


class Light:
    """The cluster. `nodes` processes run after `begin`."""

    def __init__(self, place: Path, nodes: int) -> None:
        self.place, self.nodes = place, [f"hv{number + 1}" for number in range(nodes)]
        self.zookeeper = ZooKeeper(place)
        self.zookeeper.start()
        self.store = ZooKeeperStore(
            self.zookeeper.hosts, credentials=Credentials("node", self.zookeeper._users["node"], "sasl"), acl=grants
        )
        self.repository = Repository(self.store)
        prepare(self.store, "bench")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._apis: list[subprocess.Popen[bytes]] = []

    def begin(self, deadline_s: float = 300.0) -> None:
        """Every node runs, and is ready for guests."""
        for node in self.nodes:
            self._start(node)
        self.await_true(self._all_ready, deadline_s, "every node is ready")

    def fill(self, count: int, deadline_s: float = 900.0) -> float:
        """`count` VMs are defined, placed and running, by the nodes' own doing; seconds that took."""
        began_s = time.monotonic()
        for start in range(0, count, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, count))
            self.repository.commit([write for number in numbers for write in _vm(number)])
        self.await_true(lambda: self.running() >= count, deadline_s, f"{count} guests run")
        return time.monotonic() - began_s

    def running(self) -> int:
        return sum(kept.value.phase is Phase.RUN for kept in self.repository.all(layout.CLAIMS).values())

    def mark(self, label: str, at_s: float | None = None, deadline_s: float = 60.0) -> float:
        """Write a marker, again until it is accepted; seconds that took."""
        began_s = time.monotonic()
        tag = Tag(name=f"bench {label} {began_s if at_s is None else at_s}")
        while True:
            try:
                found = self.repository.find(layout.VM_WANTED, MARKED)
                vm = VmWanted(uuid=MARKED, name="marked", definition=bare_definition(0, MARKED), tags=(tag,))
                self.repository.save(layout.VM_WANTED, MARKED, vm, found)
                return time.monotonic() - began_s
            except PvcError:
                if time.monotonic() - began_s > deadline_s:
                    raise
                time.sleep(0.02)

    def costs(self, over_s: float) -> dict[str, Cost]:
        before = {node: busy_s(process.pid) for node, process in self._processes.items()}
        began_s = time.monotonic()
        time.sleep(over_s)
        took_s = time.monotonic() - began_s
        return {
            node: Cost((busy_s(process.pid) - before[node]) / took_s, proportional_kib(process.pid) / 1024)
            for node, process in self._processes.items()
        }

    def new_key(self) -> str:
        keeper = ViewKeeper(self.store, SystemClock())
        try:
            return KeyService(self.repository, keeper, SystemClock()).add("bench", "admin")
        finally:
            keeper.stop()

    def api(self, *, store_port: int) -> tuple[subprocess.Popen[bytes], int]:
        """A real pvcapid on this store, and its port."""
        port = free_port()
        config = self._config("hv1", api_port=port, coordinators=("hv1",), store_port=store_port)
        code = "import sys; from pvc_core.daemon.apid import main; sys.exit(main())"
        with (self.place / "apid.log").open("ab") as log:
            argv = [sys.executable, "-c", code, "--config", str(config), "--node", "hv1"]
            process = subprocess.Popen(argv, cwd=REPOSITORY, stdout=log, stderr=log)
        self._apis.append(process)
        await_port(port)
        return process, port

    def end(self) -> dict[str, Report]:
        """What the nodes saw."""
        for process in self._processes.values():
            process.terminate()
        reports = {}
        for node, process in self._processes.items():
            process.wait(60)
            reports[node] = Report(**json.loads((self.place / f"{node}.json").read_text()))
        self._processes.clear()
        return reports

    def close(self) -> None:
        self.store.close()
        for process in (*self._apis, *self._processes.values()):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait(10)
        self.zookeeper.kill()

    def await_true(self, true: Callable[[], bool], deadline_s: float, what: str) -> None:
        ends_s = time.monotonic() + deadline_s
        while not _is(true):
            dead = [node for node, process in self._processes.items() if process.poll() is not None]
            if dead:
                last = (self.place / f"{dead[0]}.log").read_text()[-2000:]
                raise RuntimeError(f"{', '.join(dead)} ended: {last}")
            if time.monotonic() > ends_s:
                raise RuntimeError(f"after {deadline_s:.0f} s it is not so that {what}; logs are in {self.place}")
            time.sleep(0.2)

    def _all_ready(self) -> bool:
        seen = self.repository.all(layout.NODE_SEEN)
        return all(node in seen and seen[node].value.domain_state == "ready" for node in self.nodes)

    def _start(self, node: str) -> None:
        config = self._config(
            node, api_port=7370, coordinators=COORDINATORS if len(self.nodes) >= 3 else COORDINATORS[:1]
        )
        argv = [sys.executable, "-m", "bench.tools.light_node", str(config), node, self.zookeeper.hosts]
        with (self.place / f"{node}.log").open("ab") as log:
            self._processes[node] = subprocess.Popen(
                [*argv, str(self.place / f"{node}.json")], cwd=REPOSITORY, stdout=log, stderr=log
            )

    def _config(self, node: str, *, api_port: int, coordinators: tuple[str, ...], store_port: int = 0) -> Path:
        path = self.place / f"{node}-{api_port}.yaml"
        port = store_port or self.zookeeper.port
        words = {"place": self.place, "node": node, "api_port": api_port, "store_port": port}
        path.write_text(CONFIG.format(coordinators=", ".join(coordinators), **words))
        return path


def _is(true: Callable[[], bool]) -> bool:
    try:
        return true()
    except StoreUnavailable:  # fifty nodes at work leave the server no processor at times
        return False


@contextlib.contextmanager
def light(place: Path, nodes: int) -> Iterator[Light]:
    made = Light(place, nodes)
    try:
        yield made
    finally:
        made.close()


def _vm(number: int) -> Iterator[Add]:
    uuid = str(uuid5(NAMESPACE_DNS, f"light-{number}"))
    text = bare_definition(number, uuid).replace(">2048<", f">{MEMORY_MIB}<")
    yield Add(layout.VM_WANTED, uuid, VmWanted(uuid=uuid, name=name(number), definition=text, want=Want.START))
    yield Add(layout.VM_NAMES, name(number), NameIndex(uuid=uuid))
