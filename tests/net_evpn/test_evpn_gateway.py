"""The primary's part in managed networks, with packets: gateway, DHCP, names, what is let through, and its move."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
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
    network = made(rig, rig.network(100, ip4=LAB, domain="lab.local", reservations=(fixed,)))
    for context in rig.world.contexts.values():
        nic = NicSpec(kind="bridge", mac="52:54:00:00:02:01", source="vmbr100", network="100")
        context.known_guests = [GuestFacts(uuid="vm1", name="Web_1", nics=(nic,))]
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
    assert rig.driver("hv1").given_addresses(network, deadline_s=5.0) == []


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
