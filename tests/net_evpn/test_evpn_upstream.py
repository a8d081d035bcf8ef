"""Upstream's router, a real FRR of its own, is told of managed networks and of nothing else; what it tells is filtered;
a guest reaches what is behind it; guests talk while a bgpd is dead.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pyroute2 import NetNS

from pvc_core.model.network import Network, Subnet
from pvc_net_evpn.plugin import Config
from pvc_net_evpn.programs import Program
from tests.net_evpn.evpn_rig import EvpnRig, World, await_ready
from tests.net_evpn.test_evpn_gateway import guest, inside, lost, made, pings, primary

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

ROUTER, FLOATING, BEHIND = "10.72.0.1", "10.72.0.250", "198.51.100.1"
WITHIN_S = 60.0
LAB = Subnet(network="10.20.0.0/24", gateway="10.20.0.1")
SIX = Subnet(network="fd20::/64", gateway="fd20::1")
ROUTER_CONF = f"""
frr defaults datacenter
router bgp 64512
 bgp router-id {ROUTER}
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 10.72.0.11 remote-as 65000
 neighbor 10.72.0.11 password told
 neighbor 10.72.0.12 remote-as 65000
 neighbor 10.72.0.12 password told
 address-family ipv4 unicast
  network 192.0.2.0/24
  network 203.0.113.0/28
  neighbor 10.72.0.11 activate
  neighbor 10.72.0.11 default-originate
  neighbor 10.72.0.12 activate
  neighbor 10.72.0.12 default-originate
 exit-address-family
exit
"""


class RoutedWorld(World):
    """As World, with a router that both nodes have on upstream."""

    config: ClassVar[dict[str, Any]] = Config().load(
        {
            "upstream_peers": [
                {
                    "address": ROUTER, "asn": 64512, "announce": ["10.20.0.0/16"], "accept_max": 3,
                    "accept": ["0.0.0.0/0", "203.0.113.0/24"], "password_secret": "bgp-router",
                }
            ]
        }
    )  # fmt: skip
    floating: ClassVar[dict[str, str]] = {"upstream": f"{FLOATING}/24"}
    secrets: ClassVar[dict[str, str]] = {"bgp-router": "told"}

    def prepare(self) -> None:
        with NetNS(self.space("router")) as router:
            router.link("set", index=1, state="up")
            router.addr("add", index=1, address=BEHIND, prefixlen=32)
            router.link("add", ifname="wires", kind="bridge", br_forward_delay=0)
            wires = router.link_lookup(ifname="wires")[0]
            for number in (1, 2):
                peer = {"ifname": "brupstream", "net_ns_fd": self.space(f"hv{number}")}
                router.link("add", ifname=f"hv{number}", kind="veth", peer=peer)
                router.link("set", index=router.link_lookup(ifname=f"hv{number}")[0], master=wires, state="up")
                with NetNS(self.space(f"hv{number}"), flags=0) as node:
                    index = node.link_lookup(ifname="brupstream")[0]
                    node.addr("add", index=index, address=f"10.72.0.1{number}", prefixlen=24)
                    if number == 1:
                        node.addr("add", index=index, address=FLOATING, prefixlen=32)
                    node.link("set", index=index, state="up")
            router.addr("add", index=wires, address=ROUTER, prefixlen=24)
            router.link("set", index=wires, state="up")
        self.router = Router(self.place / "router", self.space("router"))
        self.router.start()

    def close(self) -> None:
        super().close()
        self.router.end()


class Router:
    """FRR without PVC."""

    def __init__(self, run: Path, space: str) -> None:
        self.run = run
        run.mkdir()
        for name in ("zebra.conf", "bgpd.conf"):
            (run / name).touch()
        (run / "vtysh.conf").write_text("service integrated-vtysh-config\n")
        subprocess.run(["chown", "-R", "frr:frr", str(run)], check=True)
        enter = ["nsenter", f"--net=/run/netns/{space}"]
        where = ["--vty_socket", str(run), "-z", str(run / "zserv.api"), "-u", "frr", "-g", "frr", "-A", "127.0.0.1"]
        self.programs = []
        for name in ("zebra", "bgpd"):
            pid_file = run / f"{name}.pid"
            argv = [*enter, f"/usr/lib/frr/{name}", "-f", str(run / f"{name}.conf"), "-i", str(pid_file), *where, "-P0"]
            self.programs.append(Program([*argv, "--log", f"file:{run / name}.log"], pid_file))

    def start(self) -> None:
        for program in self.programs:
            program.ensure()
            name = program._pid_file.stem
            eventually(lambda name=name: (self.run / f"{name}.vty").exists(), f"{name} runs")
        (self.run / "frr.conf").write_text(ROUTER_CONF)
        self.vtysh("-f", str(self.run / "frr.conf"))

    def end(self) -> None:
        for program in reversed(self.programs):
            program.end()

    def vtysh(self, *words: str) -> str:
        return vtysh(self.run, *words)

    def routes(self) -> dict[str, set[str]]:
        """Prefix -> next hops of what it has by BGP from others."""
        table = json.loads(self.vtysh("-c", "show bgp ipv4 unicast json"))["routes"]
        return {
            prefix: {path["nexthops"][0]["ip"] for path in paths}
            for prefix, paths in table.items()
            if any(path["path"] for path in paths)
        }

    def established(self) -> dict[str, int]:
        """How often each session was, of those that are."""
        peers = json.loads(self.vtysh("-c", "show bgp ipv4 unicast summary json"))["peers"]
        return {name: one["connectionsEstablished"] for name, one in peers.items() if one["state"] == "Established"}

    def ended(self, before: dict[str, int]) -> list[str]:
        """Sessions that stood and were ended since, and why; not those of which a busy machine heard nothing for the
        9 s that they wait.
        """
        peers = json.loads(self.vtysh("-c", "show bgp neighbors json"))
        return [
            f"{name}: {peers[name].get('lastResetDueTo')}, {peers[name].get('lastNotificationReason')}"
            for name, often in before.items()
            if peers[name]["connectionsEstablished"] != often
            and "Hold Timer" not in str(peers[name].get("lastNotificationReason"))
        ]


def vtysh(run: Path, *words: str) -> str:
    argv = ["vtysh", "--vty_socket", str(run), "--config_dir", str(run), *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


def eventually(true: Callable[[], object], what: str, *, within_s: float = WITHIN_S) -> None:
    until_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until_s, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def world() -> Iterator[RoutedWorld]:
    made = RoutedWorld()
    yield made
    made.close()


@pytest.fixture
def rig(world: RoutedWorld) -> Iterator[EvpnRig]:
    rig = EvpnRig(world)
    yield rig
    rig.clean()
    primary(world, "hv1")


@pytest.fixture
def lab(rig: EvpnRig, world: RoutedWorld) -> Network:
    network = made(rig, rig.network(100, ip4=LAB, ip6=SIX))
    eventually(lambda: world.router.routes().get("10.20.0.0/24") == {FLOATING}, "the router knows the way to it")
    return network


def test_managed_networks_go_out_and_only_they(rig: EvpnRig, world: RoutedWorld, lab: Network) -> None:
    eventually(lambda: len(world.router.established()) == 2, "both nodes' sessions stand")
    before = world.router.established()
    for vni, words in ((101, {"nat": "yes"}), (102, {"upstream": "no"}), (103, {})):
        subnet = Subnet(network=f"10.20.{vni}.0/24", gateway=f"10.20.{vni}.1")
        gone = made(rig, rig.network(vni, ip4=subnet, options=words))
    made(rig, rig.network(104, ip4=Subnet(network="10.99.0.0/24", gateway="10.99.0.1")))  # `announce` leaves it out
    eventually(lambda: "10.20.103.0/24" in world.router.routes(), "it knows the new one")
    eventually(lambda: world.router.routes().keys() == {"10.20.0.0/24", "10.20.103.0/24"}, "it knows no more")
    for node in world.fabrics:
        rig.driver(node).remove_network(gone, deadline_s=rig.deadline_s)
    eventually(lambda: world.router.routes().keys() == {"10.20.0.0/24"}, "it knows that one is gone")
    made(rig, replace(lab, options={"upstream": "no"}))
    eventually(lambda: not world.router.routes(), "it knows none")
    assert not world.router.ended(before)


def test_what_comes_in_is_what_was_asked_for(world: RoutedWorld, lab: Network) -> None:
    for node in world.fabrics:
        eventually(lambda node=node: "default" in by_bgp(world, node), "the default route is there")
        eventually(lambda node=node: by_bgp(world, node) == {"default", "203.0.113.0/28"}, "and nothing else")


def test_guests_talk_while_there_is_no_bgpd_and_reach_upstream_when_it_is_back(
    rig: EvpnRig, world: RoutedWorld, lab: Network
) -> None:
    one, two = guest(rig, "hv1", lab, 1, "10.20.0.5/24"), guest(rig, "hv2", lab, 2, "10.20.0.6/24")
    for client in (one, two):
        inside(client, "ip", "route", "replace", "default", "via", "10.20.0.1")
        assert rig.reaches(client, BEHIND, within_s=WITHIN_S)
    assert rig.reaches(one, "10.20.0.6", within_s=WITHIN_S)
    for number, node in enumerate(("hv1", "hv2"), 1):
        world.fabrics[node].stop()  # nobody starts it again
        running = pings(one, "10.20.0.6", 6.0)
        time.sleep(1.0)
        os.kill(int((world.place / node / "bgpd.pid").read_text()), 9)
        eventually(lambda: len(world.router.established()) == 1, "the router has missed it")
        assert "10.20.0.0/24" in world.router.routes()  # the other node tells it the same
        assert (missing := lost(running)) < 20, f"without bgpd on {node} {missing} of 60 were lost"
        world.fabrics[node] = world._fabric(node, number)
        await_ready(world.fabrics[node])
        eventually(lambda: len(world.router.established()) == 2, "both sessions stand again")
        for client in (one, two):
            assert rig.reaches(client, BEHIND, within_s=WITHIN_S)


def test_bgpd_that_dies_is_back_at_once(world: RoutedWorld, lab: Network) -> None:
    """Not at the next look: its end is heard."""
    eventually(lambda: len(world.router.established()) == 2, "both sessions stand")
    pid_file = world.place / "hv1/bgpd.pid"
    old = pid_file.read_text()
    os.kill(int(old), 9)
    eventually(lambda: pid_file.read_text() not in ("", old), "another runs")
    eventually(lambda: len(world.router.established()) == 2, "both sessions stand again")


def test_a_router_that_tells_too_much_is_heard_no_more(world: RoutedWorld, lab: Network) -> None:
    """The last one here: the session stays down for minutes."""
    words = ["-c", "configure terminal", "-c", "router bgp 64512", "-c", "address-family ipv4 unicast"]
    for number in range(1, 5):
        words += ["-c", f"network 203.0.113.{16 * number}/28"]
    world.router.vtysh(*words)
    eventually(
        lambda: not world.router.established() and all(is_idle(world, node) for node in world.fabrics),
        "no session stands, and neither node tries to have one",
    )


def is_idle(world: World, node: str) -> bool:
    """One that only tries to connect is "Active" or "Connect"."""
    said = vtysh(world.place / node, "-c", "show bgp ipv4 unicast summary json")
    return str(json.loads(said)["peers"].get(ROUTER, {}).get("state")).startswith("Idle")


def by_bgp(world: World, node: str) -> set[str]:
    """Where the node's kernel sends packets by what the router told."""
    argv = ["nsenter", f"--net=/run/netns/{world.space(node)}", "ip", "-j", "route", "show", "proto", "bgp"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return {route["dst"] for route in json.loads(said)}
