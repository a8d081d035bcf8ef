"""The primary's part in managed networks, with packets: gateway, DHCP, names, what is let through, and its move."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pvc_core.contracts.plugin import GuestFacts
from pvc_core.errors import Retry
from pvc_core.model.network import Network, Reservation, Subnet
from pvc_core.model.vm import NicSpec
from tests.net_evpn.evpn_rig import EvpnRig, Guest, World

pytestmark = [pytest.mark.system]

LAB = Subnet(network="10.20.0.0/24", gateway="10.20.0.1", dhcp=True, dhcp_start="10.20.0.100", dhcp_end="10.20.0.199")
APART = Subnet(network="10.21.0.0/24", gateway="10.21.0.1")
WITHIN_S = 30.0
TELLS = Path(__file__).with_name("udhcpc-tells")
"""Called by udhcpc: prints what it was given."""


@pytest.fixture
def rig(world: World) -> Iterator[EvpnRig]:
    made = EvpnRig(world)
    yield made
    made.clean()
    primary(world, "hv1")


def primary(world: World, node: str | None) -> None:
    """Whoever was gives it up first, as the lease demands."""
    for name, context in world.contexts.items():
        if name != node and context.primary:
            context.become(False)
    if node is not None and not world.contexts[node].primary:
        world.contexts[node].become(True)


def made(rig: EvpnRig, network: Network) -> Network:
    """As the reconciler does: asked again until it is done."""
    for node in rig.world.fabrics:
        until_s = time.monotonic() + WITHIN_S
        while True:
            try:
                rig.driver(node).ensure_network(network, deadline_s=rig.deadline_s)
                break
            except Retry:
                if time.monotonic() > until_s:
                    raise
    return network


def guest(rig: EvpnRig, node: str, network: Network, number: int, address: str = "") -> Guest:
    mac = f"52:54:00:00:02:{number:02x}"
    target = rig.driver(node).plug(network, vm_uuid=f"vm{number}", mac=mac, deadline_s=rig.deadline_s)
    found = rig.guest(node, target, mac, address or f"169.254.9.{number}/32")
    assert isinstance(found, Guest)
    return found


def inside(one: Guest, *argv: str) -> str:
    enter = ["nsenter", f"--net=/run/netns/{one.space}", *argv]
    return subprocess.run(enter, capture_output=True, text=True, timeout=60, check=False).stdout


def leased(one: Guest, *more: str, within_s: float = WITHIN_S) -> dict[str, str]:
    """What DHCP gives the guest; {} when nothing comes in time."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        said = inside(
            one, "busybox", "udhcpc", "-i", "eth0", "-fqn", "-t", "3", "-T", "1", "-O", "ntpsrv", "-O", "mtu",
            "-O", "search", *more, "-s", str(TELLS),
        )  # fmt: skip
        found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        if "ip" in found:
            return found
    return {}


def pings(one: Guest, address: str, seconds: float) -> subprocess.Popen[str]:
    count = int(seconds * 10)
    argv = ["nsenter", f"--net=/run/netns/{one.space}", "busybox", "ping", "-i", "0.1", "-c", str(count), address]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def lost(running: subprocess.Popen[str]) -> int:
    said = running.communicate(timeout=90)[0]
    found = re.search(r"(\d+) packets transmitted, (\d+) packets received", said)
    assert found, said
    return int(found[1]) - int(found[2])


def resolved(one: Guest, name: str, server: str) -> str:
    said = inside(one, "busybox", "nslookup", name, server)
    found = re.findall(r"Address(?: 1)?: ([0-9a-f.:]+)(?!:53)\b", said.partition("Name:")[2])
    return found[0] if found else ""


def test_guests_of_two_nodes_get_addresses_names_and_keep_them_when_the_primary_moves(rig: EvpnRig) -> None:
    fixed = Reservation(mac="52:54:00:00:02:03", address="10.20.0.50", hostname="db")
    for context in rig.world.contexts.values():
        nic = NicSpec(kind="bridge", mac="52:54:00:00:02:01", source="vmbr100", network="100")
        context.known_guests = [GuestFacts(uuid="vm1", name="Web_1", nics=(nic,))]
    network = made(rig, rig.network(100, ip4=LAB, domain="lab.local", reservations=(fixed,)))
    one, two, three = (guest(rig, node, network, number) for number, node in enumerate(("hv1", "hv2", "hv2"), 1))
    first = leased(one)
    assert first["ip"].startswith("10.20.0.1") and first["router"] == first["dns"] == first["ntpsrv"] == "10.20.0.1"
    assert first["mtu"] == "1450" and first["domain"] == "lab.local"
    second = leased(two, "-x", "hostname:web2")
    assert second["ip"] != first["ip"]
    assert leased(three)["ip"] == "10.20.0.50"
    for client, words in ((one, first), (two, second)):
        inside(client, "ip", "addr", "replace", f"{words['ip']}/24", "dev", "eth0")
    assert resolved(one, "web2.lab.local", "10.20.0.1") == second["ip"]
    assert resolved(two, "web-1.lab.local", "10.20.0.1") == first["ip"]
    assert resolved(two, "db.lab.local", "10.20.0.1") == "10.20.0.50"
    assert rig.reaches(one, second["ip"], within_s=WITHIN_S)
    running = [pings(client, "10.20.0.1", 4.0) for client in (one, two)]
    time.sleep(1.0)
    primary(rig.world, "hv2")
    assert max(missing := [lost(one) for one in running]) < 10, missing
    assert leased(one)["ip"] == first["ip"] and leased(two, "-x", "hostname:web2")["ip"] == second["ip"]
    assert resolved(one, "web2.lab.local", "10.20.0.1") == second["ip"]
    given = {one.mac: one.address for one in rig.driver("hv2").given_addresses(network, deadline_s=5.0)}
    assert given["52:54:00:00:02:02"] == second["ip"]
    books = [router.book for router in rig.world.routers.values()]
    comes_true(lambda: books[0].lent(network.id) == books[1].lent(network.id), "hv1, not primary now, reads the same")


def test_networks_are_apart_until_one_may_reach_the_other(rig: EvpnRig) -> None:
    here = made(rig, rig.network(100, ip4=LAB))
    made(rig, rig.network(101, ip4=APART))
    mine = guest(rig, "hv2", here, 1, "10.20.0.5/24")
    theirs = guest(rig, "hv1", rig.network(101, ip4=APART), 2, "10.21.0.5/24")
    for client, gateway in ((mine, "10.20.0.1"), (theirs, "10.21.0.1")):
        inside(client, "ip", "route", "add", "default", "via", gateway)
        assert rig.reaches(client, gateway, within_s=WITHIN_S)
    assert not rig.reaches(mine, "10.21.0.5", within_s=2.0)
    made(rig, replace(here, options={"route_to": "101"}))
    assert rig.reaches(mine, "10.21.0.5", within_s=WITHIN_S)
    assert not rig.reaches(theirs, "10.20.0.5", within_s=2.0)


def test_a_guest_uses_the_address_that_is_lent_to_it_and_no_other(rig: EvpnRig) -> None:
    network = made(rig, rig.network(100, ip4=LAB))
    one, two, three = (guest(rig, node, network, number) for number, node in enumerate(("hv1", "hv2", "hv2"), 1))
    first, second = leased(one)["ip"], leased(two)["ip"]
    has(one, first)
    has(two, second)
    assert rig.reaches(two, first, within_s=WITHIN_S)
    has(two, "10.20.0.77")
    comes_true(lambda: not rig.reaches(two, first, within_s=2.0), "an address that nobody has is not for two any more")
    has(two, second)
    assert rig.reaches(two, first, within_s=WITHIN_S)
    has(three, "10.20.0.90")  # it was given none: any that is nobody's
    assert rig.reaches(three, first, within_s=WITHIN_S)
    has(three, second)
    assert not rig.reaches(three, first, within_s=3.0)


def test_every_network_has_its_own_dhcp_and_names(rig: EvpnRig) -> None:
    """Their gateways have the metadata service's address in common, on which no two dnsmasq can listen."""
    for number in (1, 2):
        four = f"10.2{number}.0"
        subnet = replace(LAB, network=f"{four}.0/24", gateway=f"{four}.1", dhcp_start=f"{four}.5", dhcp_end=f"{four}.9")
        network = made(rig, rig.network(100 + number, ip4=subnet, domain=f"lab{number}.test"))
        one = guest(rig, "hv2", network, number)
        mine = leased(one)["ip"]
        assert mine.startswith(f"{four}.")
        has(one, mine)
        assert resolved(one, f"gateway.lab{number}.test", f"{four}.1") == f"{four}.1"


def test_a_lease_that_is_ended_may_be_asked_for_anew(rig: EvpnRig) -> None:
    network = made(rig, rig.network(100, ip4=LAB))
    one, two, router = guest(rig, "hv1", network, 1), guest(rig, "hv2", network, 2), rig.world.routers["hv1"]
    first, second = leased(one)["ip"], leased(two)["ip"]
    has(two, second)
    comes_true(lambda: set(router.book.lent(network.id)) == {first, second}, "both leases are known")
    router.release(network, second)
    assert set(router.book.lent(network.id)) == {first}
    router.book.load(network.id)
    assert set(router.book.lent(network.id)) == {first}  # the next primary knows it, too
    router.release(network, "10.20.0.199")  # there is none
    assert leased(two)["ip"] == second  # nobody has it: it goes with the MAC
    both = {first: "52:54:00:00:02:01", second: "52:54:00:00:02:02"}
    comes_true(lambda: router.book.lent(network.id) == both, "it is known again")


def test_nobody_asks_for_a_lease_in_anothers_name(rig: EvpnRig) -> None:
    """Leases are kept by the MAC inside the question; who could write another's there could end or move its lease."""
    network = made(rig, rig.network(100, ip4=LAB))
    one, book = guest(rig, "hv1", network, 1), rig.world.routers["hv1"].book
    asks(one, "52:54:00:00:02:09")
    asks(one, "52:54:00:00:02:01")
    comes_true(lambda: "52:54:00:00:02:01" in book.lent(network.id).values(), "its own question is answered")
    assert set(book.lent(network.id).values()) == {"52:54:00:00:02:01"}


def has(one: Guest, address: str) -> None:
    """This one only."""
    inside(one, "ip", "addr", "flush", "dev", "eth0")
    inside(one, "ip", "addr", "add", f"{address}/24", "dev", "eth0")


def comes_true(true: Callable[[], bool], what: str) -> None:
    until_s = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < until_s, what
        time.sleep(0.2)


ASK = """
import socket, sys
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
asked.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
asked.bind(("", 68))
head = bytes([1, 1, 6, 0, 1, 2, 3, 4]) + bytes(20) + bytes.fromhex(sys.argv[1]).ljust(16, b"\\0") + bytes(192)
wish = socket.inet_aton("10.20.0.150")
options = b"c\\x82Sc" + bytes([53, 1, 3, 50, 4]) + wish + bytes([54, 4]) + socket.inet_aton("10.20.0.1") + b"\\xff"
for _ in range(3):
    asked.sendto(head + options, ("255.255.255.255", 67))
"""
"""DHCPREQUEST of an address of this server (RFC 2131 table 5), as a client sends it that has had an offer."""


def asks(one: Guest, mac: str) -> None:
    inside(one, "ip", "addr", "flush", "dev", "eth0")
    inside(one, "ip", "route", "replace", "default", "dev", "eth0")
    inside(one, sys.executable, "-c", ASK, mac.replace(":", ""))
