"""A gateway on every node, with packets: guests of two networks on two nodes, without any node in the middle."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pvc_core.model.network import Network, Reservation, Subnet
from tests.net_evpn.evpn_rig import EvpnRig, Guest, World
from tests.net_evpn.test_evpn_gateway import WITHIN_S, guest, inside, leased, lost, made, pings, primary, resolved

pytestmark = [pytest.mark.system]

LEFT = Subnet(network="10.20.0.0/24", gateway="10.20.0.1", dhcp=True, dhcp_start="10.20.0.100", dhcp_end="10.20.0.199")
RIGHT = Subnet(network="10.21.0.0/24", gateway="10.21.0.1")
LEFT6, RIGHT6 = (Subnet(network=f"fd20:{one}::/64", gateway=f"fd20:{one}::1") for one in (1, 2))
SPREAD = {"gateway": "distributed"}


@pytest.fixture
def rig(world: World) -> Iterator[EvpnRig]:
    rig = EvpnRig(world)
    yield rig
    rig.clean()
    primary(world, "hv1")


def both(rig: EvpnRig) -> tuple[Network, Network]:
    """Two networks, each of which may open connections into the other."""
    fixed = Reservation(mac="52:54:00:00:02:03", address="10.20.0.50", hostname="db")
    left = rig.network(
        100, ip4=LEFT, ip6=LEFT6, domain="left.local", reservations=(fixed,), options=SPREAD | {"route_to": "101"}
    )
    right = rig.network(101, ip4=RIGHT, ip6=RIGHT6, options=SPREAD | {"route_to": "100"})
    return made(rig, left), made(rig, right)


def routed(one: Guest, gateway: str, address6: str = "", gateway6: str = "") -> Guest:
    inside(one, "ip", "route", "replace", "default", "via", gateway)
    if address6:
        inside(one, "ip", "-6", "addr", "add", f"{address6}/64", "dev", "eth0", "nodad")
        inside(one, "ip", "-6", "route", "replace", "default", "via", gateway6)
    return one


def mac_of_gateway(one: Guest, gateway: str) -> str:
    return inside(one, "ip", "neigh", "show", gateway).partition("lladdr ")[2].partition(" ")[0]


def on(rig: EvpnRig, node: str, *argv: str) -> str:
    enter = ["nsenter", f"--net=/run/netns/{rig.world.space(node)}", *argv]
    return subprocess.run(enter, capture_output=True, text=True, timeout=60, check=True).stdout


def test_guests_of_two_networks_talk_with_no_primary_in_the_middle(rig: EvpnRig) -> None:
    left, right = both(rig)
    mine = routed(guest(rig, "hv2", left, 1, "10.20.0.5/24"), "10.20.0.1", "fd20:1::5", "fd20:1::1")
    silent = routed(guest(rig, "hv1", right, 2, "10.21.0.5/24"), "10.21.0.1", "fd20:2::5", "fd20:2::1")
    assert rig.reaches(mine, "10.21.0.5", within_s=WITHIN_S), "a guest that has not said a word yet"
    assert rig.reaches(mine, "fd20:2::5", within_s=WITHIN_S)
    assert rig.reaches(silent, "10.20.0.5", within_s=WITHIN_S)
    running = [pings(mine, "10.21.0.5", 4.0), pings(silent, "10.20.0.5", 4.0), pings(mine, "10.20.0.1", 4.0)]
    primary(rig.world, None)
    assert [lost(one) for one in running] == [0, 0, 0]
    assert not inside(mine, "ip", "neigh", "show", "nud", "failed").strip()


def test_the_gateway_is_the_same_on_every_node_and_each_guest_has_its_own(rig: EvpnRig) -> None:
    left, _right = both(rig)
    guests = [
        routed(guest(rig, node, left, number, f"10.20.0.{number}/24"), "10.20.0.1")
        for number, node in ((5, "hv1"), (6, "hv2"))
    ]
    for one in guests:
        assert rig.reaches(one, "10.20.0.1", within_s=WITHIN_S)
    macs = {mac_of_gateway(one, "10.20.0.1") for one in guests}
    assert len(macs) == 1 and macs != {""}
    for node in rig.world.fabrics:
        assert f"{macs.copy().pop()}" in on(rig, node, "ip", "link", "show", "vmbr100")
        assert macs.copy().pop() not in on(rig, node, "bridge", "fdb", "show", "dev", "vxlan100")
    central = replace(left, options={})
    made(rig, central)
    for one in guests:
        assert rig.reaches(one, "10.20.0.1", within_s=WITHIN_S)
    assert "10.20.0.1" not in on(rig, "hv2", "ip", "addr", "show")


def test_what_a_node_cannot_route_itself_goes_by_the_primary(rig: EvpnRig) -> None:
    left, _right = both(rig)
    fixed, asking = guest(rig, "hv2", left, 3), guest(rig, "hv2", left, 4)
    assert leased(fixed)["ip"] == "10.20.0.50"
    mine = leased(asking, "-x", "hostname:web")["ip"]
    inside(asking, "ip", "addr", "replace", f"{mine}/24", "dev", "eth0")
    routed(asking, "10.20.0.1")
    assert resolved(asking, "db.left.local", "10.20.0.1") == "10.20.0.50"
    apart = made(rig, rig.network(102, ip4=Subnet(network="10.22.0.0/24", gateway="10.22.0.1")))
    theirs = routed(guest(rig, "hv1", apart, 5, "10.22.0.5/24"), "10.22.0.1")
    assert not rig.reaches(asking, "10.22.0.5", within_s=2.0)
    made(rig, replace(left, options=left.options | {"route_to": "101,102"}))
    assert rig.reaches(asking, "10.22.0.5", within_s=WITHIN_S)
    assert not rig.reaches(theirs, mine, within_s=2.0), "only one side may open connections"
    running = pings(asking, "10.22.0.5", 4.0)
    primary(rig.world, "hv2")
    assert lost(running) < 10
    assert resolved(asking, "db.left.local", "10.20.0.1") == "10.20.0.50"


def test_networks_that_do_not_allow_each_other_are_apart_on_every_node(rig: EvpnRig) -> None:
    left, right = (replace(one, options=SPREAD) for one in both(rig))
    for one in (left, right):
        made(rig, one)
    mine = routed(guest(rig, "hv2", left, 1, "10.20.0.5/24"), "10.20.0.1")
    routed(guest(rig, "hv2", right, 2, "10.21.0.5/24"), "10.21.0.1")
    assert rig.reaches(mine, "10.20.0.1", within_s=WITHIN_S)
    assert not rig.reaches(mine, "10.21.0.5", within_s=2.0)
    made(rig, replace(left, options=SPREAD | {"route_to": "101"}))
    assert rig.reaches(mine, "10.21.0.5", within_s=WITHIN_S)
