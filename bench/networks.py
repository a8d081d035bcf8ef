"""Managed networks: how soon one more is usable where there are many, what a change of rules costs those who talk, DHCP
answers a second, and what is lost when a guest's port moves, the gateway moves, or the nodes' cable is cut.

Two nodes as network namespaces with real FRR, dnsmasq and nft; guests are namespaces, too, and ping 100 times a second.
The core's part (store, reconciler: some milliseconds) is not in it. `bench.migrate` has real guests.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from bench.tools.figures import begin, say, table
from pvc_core.contracts.network import NetworkDriver
from pvc_core.errors import Retry
from pvc_core.ids import new_uuid
from pvc_core.model.network import Acl, AclDirection, Network, Subnet
from tests.net_evpn.evpn_rig import EvpnRig, Guest, World, opened

EACH_S, PATIENCE_S = 0.01, 120.0
NODES = ("hv1", "hv2")
ASK = """
import random, select, socket, sys, time
count = int(sys.argv[1])
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
asked.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
asked.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
asked.bind(("", 68))
server, began, answered = socket.inet_aton(sys.argv[2]), time.monotonic(), 0
for number in range(count):
    xid, mac = number.to_bytes(4, "big"), bytes([2, 0, 0, 0, number >> 8, number & 255])
    head = bytes([1, 1, 6, 0]) + xid + bytes([0, 0, 128, 0]) + bytes(16) + mac.ljust(16, b"\\0") + bytes(192)
    wish = (int.from_bytes(server, "big") + 256 + number).to_bytes(4, "big")
    question = head + b"c\\x82Sc" + bytes([53, 1, 3, 50, 4]) + wish + bytes([54, 4]) + server + b"\\xff"
    for _ in range(5):
        asked.sendto(question, ("255.255.255.255", 67))
        until = time.monotonic() + 1.0
        while (left := until - time.monotonic()) > 0 and select.select([asked], [], [], left)[0]:
            if asked.recv(2048)[4:8] == xid:
                answered += 1
                break
        else:
            continue
        break
print(answered, time.monotonic() - began)
"""
"""DHCPREQUEST for one MAC after the other, each when the one before was answered; asked again after a second."""

ANNOUNCE = """
import socket
port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
port.bind(("eth0", 0))
mac = port.getsockname()[4]
body = bytes([0, 1, 8, 0, 6, 4, 0, 3]) + mac + bytes(4) + mac + bytes(4)
port.send(b"\\xff" * 6 + mac + b"\\x80\\x35" + body.ljust(46, b"\\0"))
"""


@dataclass(frozen=True)
class Pings:
    sent: int
    lost: int


class Bench:
    def __init__(self, world: World) -> None:
        self.rig, self.world = EvpnRig(world), world
        self.drivers: dict[str, NetworkDriver] = {node: self.rig.driver(node) for node in NODES}
        """One for each node all the while, as in a daemon."""

    def usable(self, network: Network) -> float:
        """Seconds until every node has it, all asked at once, again when they say "not yet"."""
        began_s = time.monotonic()
        with ThreadPoolExecutor(len(NODES)) as pool:
            list(pool.map(lambda node: self._ensure(node, network), NODES))
        return time.monotonic() - began_s

    def guest(self, node: str, network: Network, number: int, address: str) -> Guest:
        mac = f"52:54:00:00:03:{number:02x}"
        target = self.drivers[node].plug(network, vm_uuid=f"vm{number}", mac=mac, deadline_s=30)
        found = self.rig.guest(node, target, mac, address)
        assert isinstance(found, Guest)
        return found

    def losses(self, one: Guest, address: str, fault: Callable[[], None], *, seconds: float) -> Pings:
        """What is lost of pings while `fault` happens; they go on until the time is over."""
        assert self.rig.reaches(one, address, within_s=PATIENCE_S)
        words = ["busybox", "ping", "-i", str(EACH_S), "-c", str(int(seconds / EACH_S)), "-W", "2", address]
        enter = ["nsenter", f"--net=/run/netns/{one.space}", *words]
        with subprocess.Popen(enter, stdout=subprocess.PIPE, text=True) as running:
            time.sleep(1.0)
            fault()
            said = running.communicate(timeout=seconds * 3 + 30)[0]
        found = re.search(r"(\d+) packets transmitted, (\d+) packets received", said)
        assert found, said
        return Pings(int(found[1]), int(found[1]) - int(found[2]))

    def _ensure(self, node: str, network: Network) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.drivers[node].ensure_network(network, deadline_s=30)
                return
            except Retry:
                if time.monotonic() > until_s:
                    raise
                time.sleep(0.05)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 100, 500], help="how many there are before")
    parser.add_argument("--rules", type=int, default=1000)
    parser.add_argument("--leases", type=int, default=2000)
    parser.add_argument("--cut", type=float, default=10.0, help="seconds")
    options = parser.parse_args(argv)
    begin("bench.networks", argv)
    with _world() as bench:
        _rules(bench, options.rules)
        _answers(bench, options.leases)
        _moves(bench, options.cut)
    with _world() as bench:
        _many(bench, options.networks)
    return 0


@contextmanager
def _world() -> Iterator[Bench]:
    bench = Bench(World())
    try:
        yield bench
    finally:
        bench.world.close()


def _lab(number: int, **more: object) -> Network:
    """With a gateway of the cluster, without DHCP."""
    four = f"10.{100 + number // 256}.{number % 256}"
    subnet = Subnet(network=f"{four}.0/24", gateway=f"{four}.1")
    made = Network(vni=1000 + number, id=new_uuid(), name=f"net{number}", nettype="managed", ip4=subnet)
    return replace(made, **more)  # type: ignore[arg-type]  # fields of Network by name


def _many(bench: Bench, sizes: Sequence[int]) -> None:
    rows, there = [], 0
    for size in sizes:
        began_s = time.monotonic()
        for number in range(there, size):
            bench.usable(_lab(number))
        filled_s, there = time.monotonic() - began_s, size
        taken = sorted(bench.usable(_lab(size + more)) for more in range(3))
        there += 3
        rows.append([f"one more where there are {size}", f"{taken[1] * 1000:.0f}", f"{filled_s:.1f}"])
    table(["until both nodes have it (goal 1,000 ms)", "ms, middle of 3", "s to make those before"], rows)


def _rules(bench: Bench, count: int) -> None:
    plain = _lab(1)
    bench.usable(plain)
    one, two = bench.guest("hv1", plain, 1, "10.100.1.11/24"), bench.guest("hv2", plain, 2, "10.100.1.12/24")
    rows = []
    taken: list[float] = []
    for name, network in (
        (f"{count} rules loaded", _ruled(plain, count, 1)),
        ("each one changed", _ruled(plain, count, 2)),
        ("all taken away", plain),
    ):
        lost = bench.losses(one, "10.100.1.12", partial(_timed, bench, network, taken), seconds=6.0)
        rows.append([name, f"{taken.pop() * 1000:.0f}", str(lost.lost), str(lost.sent)])
    alone = sorted(_alone(bench, _ruled(plain, count, again)) for again in range(9))
    for guest in (one, two):
        bench.rig.unplugged(guest)
    table(["rules of a network while guests talk (goal 100 ms, none lost)", "ms, both nodes", "lost", "of"], rows)
    say(f"The filters alone, each rule changed, on one node, 9 times: {alone[0]:.0f} to {alone[-1]:.0f} ms, ")
    say(f"{alone[4]:.0f} ms in the middle; nft itself is one program that loads all in one transaction.")


def _ruled(plain: Network, count: int, first: int) -> Network:
    rules = [f"tcp dport {number + first} drop" for number in range(count)]
    acls = [Acl(name=f"r{number}", direction=AclDirection.IN, rule=rule) for number, rule in enumerate(rules)]
    return replace(plain, acls=tuple(acls))


def _alone(bench: Bench, network: Network) -> float:
    filters, began_s = bench.world.filters("hv1"), time.monotonic()
    filters.ensure(network, ())
    return (time.monotonic() - began_s) * 1000


def _timed(bench: Bench, network: Network, taken: list[float]) -> None:
    taken.append(bench.usable(network))


def _answers(bench: Bench, count: int) -> None:
    subnet = Subnet(
        network="10.30.0.0/16", gateway="10.30.0.1", dhcp=True, dhcp_start="10.30.1.0", dhcp_end="10.30.254.0"
    )
    network = _lab(2, ip4=subnet, domain="lab.test", options={"anti_spoofing": "off"})
    bench.usable(network)
    one = bench.guest("hv2", network, 3, "169.254.9.3/32")
    enter = ["nsenter", f"--net=/run/netns/{one.space}"]
    subprocess.run([*enter, "ip", "route", "add", "default", "dev", "eth0"], check=True)
    done = subprocess.run(
        [*enter, sys.executable, "-c", ASK, str(count), "10.30.0.1"], capture_output=True, text=True, check=True
    )
    answered, took_s = done.stdout.split()
    say(f"DHCP: {answered} of {count} guests of another node were given an address in {float(took_s):.1f} s: ")
    say(f"{float(answered) / float(took_s):.0f} answers a second, one after the other, each lease told to the store")
    bench.rig.unplugged(one)


def _moves(bench: Bench, cut_s: float) -> None:
    network = _lab(3)
    bench.usable(network)
    one, two = (bench.guest("hv1", network, number, f"10.100.3.{number}/24") for number in (4, 5))
    again = bench.guest("hv2", network, 5, "10.100.3.5/24")
    _port(bench, again, "down")
    rows = []
    faults: tuple[tuple[str, str, Callable[[], None], float], ...] = (
        ("a guest goes to the other node", "10.100.3.5", partial(_moved, bench, two, again), 6.0),
        ("the gateway is handed to the other node", "10.100.3.1", partial(_handed, bench), 6.0),
        (f"the nodes' cable is cut for {cut_s:g} s", "10.100.3.5", partial(_cut, bench, cut_s), cut_s + 8.0),
    )
    for name, address, fault, seconds in faults:
        lost = bench.losses(one, address, fault, seconds=seconds)
        rows.append([name, f"{lost.lost} of {lost.sent}", f"{lost.lost * EACH_S * 1000:.0f}"])
    table([f"what happens, {1 / EACH_S:.0f} pings a second", "lost", "ms of silence"], rows)


def _moved(bench: Bench, two: Guest, again: Guest) -> None:
    """What a live migration does to a network: its port goes there, comes here, and QEMU announces it (RARP)."""
    bench.rig.unplugged(two)
    _port(bench, again, "up")
    enter = ["nsenter", f"--net=/run/netns/{again.space}", sys.executable, "-c", ANNOUNCE]
    subprocess.run(enter, check=True)


def _port(bench: Bench, guest: Guest, state: str) -> None:
    with opened(bench.world.space(guest.node)) as space:
        space.link("set", index=space.link_lookup(ifname=guest.tap)[0], state=state)


def _handed(bench: Bench) -> None:
    """Whoever was primary gives it up first, as the lease demands."""
    for node, acting in (("hv1", False), ("hv2", True)):
        bench.world.contexts[node].become(acting)


def _cut(bench: Bench, seconds: float) -> None:
    for state, rest_s in (("down", seconds), ("up", 0.0)):
        with opened(bench.world.space("hv1")) as space:
            space.link("set", index=space.link_lookup(ifname="eth1")[0], state=state)
        time.sleep(rest_s)


if __name__ == "__main__":
    sys.exit(main())
