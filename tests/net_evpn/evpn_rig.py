"""Two nodes as network namespaces with a cable between them, each with FRR of its own; guests are namespaces, too."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pyroute2 import IPRoute, NetNS, netns

from pvc_core.clock import SystemClock
from pvc_core.contracts.network import NetworkDriver
from pvc_core.contracts.plugin import NodeFacts
from pvc_core.contracts.targets import Bridge, NicTarget
from pvc_core.errors import Retry
from pvc_core.model.network import Network
from pvc_core.testing.context import FakeContext, FakeState
from pvc_core.testing.network_rig import NetworkRig
from pvc_net_common.filters import Filters
from pvc_net_evpn.definitions import EvpnDefinitions
from pvc_net_evpn.driver import EvpnNetworks
from pvc_net_evpn.fabric import Fabric
from pvc_net_evpn.gateway import Gateways
from pvc_net_evpn.kernel import Kernel
from pvc_net_evpn.router import Router

READY_S = 60.0
CLONE_NEWNET = 0x40000000
"""linux/sched.h."""
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Guest:
    space: str
    node: str
    tap: str


class World:
    """The nodes and their FRR: for all tests of a module."""

    config: ClassVar[dict[str, Any]] = {}
    """More of the plugin's section."""
    floating: ClassVar[dict[str, str]] = {}
    secrets: ClassVar[dict[str, str]] = {}

    def __init__(self, nodes: tuple[str, ...] = ("hv1", "hv2")) -> None:
        self.prefix = f"pvc{os.getpid()}"
        self.place = Path(tempfile.mkdtemp(prefix="pvc-evpn-"))
        self.place.chmod(0o755)  # FRR's own user must find its files
        self.state = FakeState()
        self.fabrics: dict[str, Fabric] = {}
        self.contexts: dict[str, FakeContext] = {}
        self.routers: dict[str, Router] = {}
        for node in nodes:
            with NetNS(self.space(node)) as space:  # made here
                space.link("set", index=1, state="up")
        self._cable(*nodes)
        self.prepare()
        for number, node in enumerate(nodes, 1):
            self.fabrics[node] = self._fabric(node, number)
        for fabric in self.fabrics.values():
            await_ready(fabric)

    def prepare(self) -> None:
        """What else there is before FRR starts."""

    def space(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def kernel(self, node: str) -> Kernel:
        return Kernel(partial(opened, self.space(node)))

    def filters(self, node: str) -> Filters:
        enter = ("nsenter", f"--net=/run/netns/{self.space(node)}")
        return Filters(self.contexts[node].run, SystemClock(), enter=enter)

    def close(self) -> None:
        for node, fabric in self.fabrics.items():
            self.routers[node].stop()
            self.contexts[node].stop()
            fabric.stop()
            fabric.end_programs()
        for name in netns.listnetns():
            if name.startswith(f"{self.prefix}-"):
                netns.remove(name)
        shutil.rmtree(self.place)

    def _cable(self, one: str, other: str) -> None:
        with NetNS(self.space(one), flags=0) as here, NetNS(self.space(other), flags=0) as there:
            here.link("add", ifname="eth1", kind="veth", peer={"ifname": "eth1", "net_ns_fd": self.space(other)})
            for number, space in enumerate((here, there), 1):
                index = space.link_lookup(ifname="eth1")[0]
                space.addr("add", index=index, address=f"10.71.0.{number}", prefixlen=24)
                space.link("set", index=index, state="up")

    def _fabric(self, node: str, number: int) -> Fabric:
        context = FakeContext({"asn": 65000, **self.config}, node=node, state=self.state, secrets=self.secrets)
        networks = {"cluster": f"10.71.0.{number}/24"}
        context.node = NodeFacts(name=node, coordinator=True, host_networks=networks, floating=self.floating)
        context.primary = node == "hv1"
        self.contexts[node] = context
        enter = ("nsenter", f"--net=/run/netns/{self.space(node)}")
        fabric = Fabric(context, self.kernel(node), run=self.place / node, enter=enter)
        self.routers[node] = Router(
            context, self.kernel(node), Gateways(partial(opened, self.space(node))), local=fabric.local,
            run=self.place / node, place=self.place / "programs", enter=enter, metadata=("127.0.0.1", 0),
        )  # fmt: skip
        return fabric


class EvpnRig(NetworkRig):
    """For one test: what it makes is gone afterwards."""

    def __init__(self, world: World) -> None:
        self.definitions, self.world = EvpnDefinitions(), world
        self.guests: list[Guest] = []

    def driver(self, node: str) -> NetworkDriver:
        return EvpnNetworks(
            self.world.fabrics[node], self.world.kernel(node), self.world.routers[node], self.world.filters(node)
        )

    def guest(self, node: str, target: NicTarget, mac: str, address: str) -> object:
        assert isinstance(target, Bridge)
        number = len(self.guests) + 1
        made = Guest(self.world.space(f"g{number}"), node, target.device)
        with NetNS(made.space) as inside, opened(self.world.space(node)) as host:
            peer = {"ifname": "eth0", "net_ns_fd": made.space, "address": mac}
            host.link("add", ifname=made.tap, kind="veth", peer=peer)
            bridge, tap = host.link_lookup(ifname=target.bridge)[0], host.link_lookup(ifname=made.tap)[0]
            host.link("set", index=tap, master=bridge, state="up")
            eth0 = inside.link_lookup(ifname="eth0")[0]
            ip, _, prefix = address.partition("/")
            inside.addr("add", index=eth0, address=ip, prefixlen=int(prefix))
            inside.link("set", index=eth0, state="up")
        self.guests.append(made)
        return made

    def reaches(self, guest: object, address: str, *, within_s: float) -> bool:
        assert isinstance(guest, Guest)
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            ping = ["nsenter", f"--net=/run/netns/{guest.space}", "busybox", "ping", "-c", "1", "-W", "1", address]
            if subprocess.run(ping, capture_output=True, check=False).returncode == 0:
                return True
        return False

    def unplugged(self, guest: object) -> None:
        assert isinstance(guest, Guest)
        with opened(self.world.space(guest.node)) as host:
            for index in host.link_lookup(ifname=guest.tap):
                host.link("del", index=index)

    def mtu(self, node: str, target: NicTarget) -> int:
        assert isinstance(target, Bridge)
        with opened(self.world.space(node)) as host:
            link: Any = host.get_links(host.link_lookup(ifname=target.bridge)[0])[0]
            return int(link.get("ifla_mtu"))

    def clean(self) -> None:
        for guest in self.guests:
            self.unplugged(guest)
            netns.remove(guest.space)
        for node in self.world.fabrics:
            driver = self.driver(node)
            for found in self.world.kernel(node).list():
                gone = Network(vni=found.vni, id=found.id, name="gone", nettype=self.nettype)
                driver.remove_network(gone, deadline_s=self.deadline_s)


def opened(space: str) -> IPRoute:
    """A netlink socket there, for the thread that asks: a socket stays in the namespace it was made in. pyroute2's own
    way there is a child process for each socket, which on a busy machine is now and then taken for dead.
    """
    with open(f"/run/netns/{space}") as there, open("/proc/thread-self/ns/net") as here:
        _enter(there.fileno())
        try:
            made = IPRoute()
            made.link_lookup(ifname="lo")  # the socket is made at the first question
            return made
        finally:
            _enter(here.fileno())


def _enter(namespace: int) -> None:
    if _LIBC.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter a network namespace")


def await_ready(fabric: Fabric) -> None:
    until_s = time.monotonic() + READY_S
    while True:
        try:
            return fabric.demand_ready()
        except Retry:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.1)
