"""What the fencing suite needs of a real Ceph: nodes with addresses of their own, each a network namespace, and clients
in them. Ceph itself listens in the hub that joins them; nothing of the machine's own network is touched.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from lab.ceph_conf import Monitor
from lab.ceph_make import Ceph, Osd, run_here
from lab.kernel import enter_network_of
from pvc_core.errors import Permanent
from pvc_core.ids import new_uuid
from pvc_core.model.storage import Pool, Volume
from pvc_core.testing.context import FakeContext, FakeState
from pvc_core.testing.contract_storage_fencing import DEADLINE_S, StorageFencingRig
from pvc_core.units import MIB
from pvc_storage_ceph.driver import CephStorage

from .ceph_rig import stop

HUB = "10.2.0.1"
_CLIENT = Path(__file__).with_name("client.py")
_ANSWER_S = 60.0


class Hub:
    """A bridge in a namespace of its own, and a namespace for each address that hangs on it."""

    def __init__(self) -> None:
        self._places: dict[str, subprocess.Popen[bytes]] = {}
        self._numbers = count(1)
        self.pid = self._begin("hub")
        for line in ("link set lo up", "link add br0 type bridge", f"addr add {HUB}/24 dev br0", "link set br0 up"):
            self._ip("hub", line)

    def place(self, ip: str) -> int:
        """The process whose network has this address."""
        if ip not in self._places:
            port = f"p{next(self._numbers)}"
            pid = self._begin(ip)
            self._ip("hub", f"link add {port} type veth peer name eth0 netns {pid}")
            for line in (f"link set {port} master br0 up", f"route replace {ip}/32 dev br0"):
                self._ip("hub", line)
            for line in ("link set lo up", f"addr add {ip}/32 dev eth0", "link set eth0 up"):
                self._ip(ip, line)
            self._ip(ip, f"route add {HUB}/32 dev eth0 src {ip}")
        return self._places[ip].pid

    def run(self, argv: Sequence[str]) -> str:
        """A `Run` in the hub."""
        return run_here(inside(self.pid, argv))

    def end(self) -> None:
        for one in self._places.values():
            one.kill()
            one.wait()

    def _begin(self, name: str) -> int:
        """Returns once it is in its own namespace."""
        argv = ["unshare", "--net", "sh", "-c", "echo here; exec sleep infinity"]
        self._places[name] = one = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert one.stdout is not None
        one.stdout.readline()
        return one.pid

    def _ip(self, place: str, line: str) -> None:
        run_here(inside(self._places[place].pid, ["ip", *line.split()]))


def inside(pid: int, argv: Sequence[str]) -> list[str]:
    return ["nsenter", "--target", str(pid), "--net", "--", *argv]


@contextmanager
def network_of(pid: int) -> Iterator[None]:
    """This thread, and what it starts, is there meanwhile."""
    back = subprocess.Popen(["sleep", "infinity"])  # it stays where we come from
    enter_network_of(pid)
    try:
        yield
    finally:
        enter_network_of(back.pid)
        back.kill()
        back.wait()


@contextmanager
def ceph_on(hub: Hub, directory: Path) -> Iterator[Ceph]:
    ceph = Ceph(
        directory=directory,
        monitors=[Monitor(name="a", address=HUB)],
        mon_runs=[hub.run],
        osds=[Osd(number=0, host="hub", address=HUB, run=hub.run)],
        network=f"{HUB}/24",
        copies=1,
    )
    try:
        ceph.make()
        ceph.await_clean()
        yield ceph
    finally:
        stop(ceph)


@dataclass
class Client:
    process: subprocess.Popen[str]
    address: str

    def ask(self) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("write\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], _ANSWER_S)[0]:
            return "no"
        return self.process.stdout.readline().strip()


class CephFencingRig(StorageFencingRig):
    """Each test has volumes, keys and a blocklist of its own."""

    name = "storage_ceph"
    pool = Pool(name="vms", driver="storage_ceph", pgs=8)
    storage_ips = {"hv1": "10.2.0.11", "hv2": "10.2.0.12"}

    def __init__(self, ceph: Ceph, hub: Hub, directory: Path) -> None:
        self.ceph, self._hub, self._directory = ceph, hub, directory
        self.state = FakeState()
        self._drivers: dict[tuple[str, str], CephStorage] = {}
        self._clients: list[Client] = []
        ceph.command("osd", "blocklist", "clear")
        self.driver().ensure_pool(self.pool, deadline_s=DEADLINE_S)

    def driver(self) -> CephStorage:
        return self.driver_of("hv1")

    def driver_of(self, node: str, incarnation: str = "boot-1") -> CephStorage:
        if (node, incarnation) not in self._drivers:
            config = {
                "conf": str(self.ceph.conf),
                "user": "admin",
                "keyring": "",
                "pool_prefix": "",
                "state": str(self._directory / f"{node}-{incarnation}"),
            }
            networks = {"storage": f"{self.storage_ips[node]}/24"}
            context = FakeContext(config, node=node, incarnation=incarnation, state=self.state, host_networks=networks)
            self._drivers[node, incarnation] = CephStorage(context)
        return self._drivers[node, incarnation]

    def volume(self, name: str) -> Volume:
        made = Volume(id=new_uuid(), pool="vms", name=f"{name}-{os.urandom(4).hex()}", size_bytes=4 * MIB)
        self.driver().create_volume(self.pool, made, deadline_s=DEADLINE_S)
        return made

    def connect(
        self, volume: Volume, node: str, *, incarnation: str = "boot-1", ip: str = "", watching: bool = True
    ) -> Client:
        driver = self.driver_of(node, incarnation)
        source = driver.attach(self.pool, volume, vm_uuid=new_uuid(), read_only=False, deadline_s=DEADLINE_S)
        words = [source.user, source.key_file, source.pool, source.image, "watching" if watching else "reading"]
        return self.client(ip or self.storage_ips[node], *words)

    def client(self, ip: str, *words: str) -> Client:
        """Raises Permanent when Ceph does not let it in."""
        argv = inside(self._hub.place(ip), [sys.executable, "-P", str(_CLIENT), str(self.ceph.conf), *words])
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(argv, text=True, **pipes)
        client = Client(process, process.stdout.readline().strip())
        self._clients.append(client)
        if not client.address:
            raise Permanent(f"the client was not let in: {process.stderr.read()[-300:]}")
        return client

    def address(self, client: Client) -> str:
        return client.address

    def writes(self, client: Client) -> bool:
        return client.ask() == "yes"

    def end(self) -> None:
        for client in self._clients:
            client.process.kill()
            client.process.communicate()
        for driver in self._drivers.values():
            driver.close()
