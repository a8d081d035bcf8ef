"""The questions that every network driver is asked, with packets: nodes and guests are network namespaces."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from pvc_net_static import StaticDefinitions
from pvc_net_static.driver import StaticNetworks
from pyroute2 import NetNS, netns

from pvc_core.clock import SystemClock
from pvc_core.contracts import Bridge, NetworkDriver, NicTarget
from pvc_core.contracts.plugin import NodeFacts
from pvc_core.testing.context import FakeContext, FakeState
from pvc_core.testing.contract_network import NetworkContract
from pvc_core.testing.network_rig import NetworkRig
from pvc_net_common.filters import Filters

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
Guest = tuple[str, str, str]
"""(its namespace, its node, the port's device there)."""


class Rig(NetworkRig):
    """Two nodes with a cable between them. What else a rig may offer stands in pvc_core/testing/network_rig.py."""

    nettype = "static"

    def __init__(self) -> None:
        self.definitions, self.prefix, self.state = StaticDefinitions(), f"pvcst{os.getpid()}", FakeState()
        self.guests: list[Guest] = []
        with NetNS(self.space("hv1")) as one, NetNS(self.space("hv2")) as two:
            one.link("add", ifname="eth1", kind="veth", peer={"ifname": "eth1", "net_ns_fd": self.space("hv2")})
            for number, node in enumerate((one, two), 1):
                index = node.link_lookup(ifname="eth1")[0]
                node.addr("add", index=index, address=f"10.72.0.{number}", prefixlen=24)
                node.link("set", index=index, state="up")
        for node in ("hv1", "hv2"):  # as after the first network on each: both are on record
            self.state.put(f"nodes/{node}", f"10.72.0.{node[-1]}".encode(), if_version=None)

    def space(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def driver(self, node: str) -> NetworkDriver:
        context = FakeContext({"port": 4790}, node=node, state=self.state)
        facts = NodeFacts(name=node, coordinator=True, host_networks={"cluster": f"10.72.0.{node[-1]}/24"})
        context.node = facts
        filters = Filters(context.run, SystemClock(), enter=self.enter(self.space(node)))
        return StaticNetworks(context, filters, partial(NetNS, self.space(node), flags=0))

    def guest(self, node: str, target: NicTarget, mac: str, address: str) -> object:
        assert isinstance(target, Bridge)
        space = self.space(f"g{len(self.guests)}")
        with NetNS(space) as inside, NetNS(self.space(node), flags=0) as host:
            host.link(
                "add", ifname=target.device, kind="veth", peer={"ifname": "eth0", "net_ns_fd": space, "address": mac}
            )
            tap, bridge = (host.link_lookup(ifname=name)[0] for name in (target.device, target.bridge))
            host.link("set", index=tap, master=bridge, state="up")
            eth0 = inside.link_lookup(ifname="eth0")[0]
            ip, _, prefix = address.partition("/")
            inside.addr("add", index=eth0, address=ip, prefixlen=int(prefix))
            inside.link("set", index=eth0, state="up")
        self.guests.append((space, node, target.device))
        return self.guests[-1]

    def reaches(self, guest: Any, address: str, *, within_s: float) -> bool:
        ping = [*self.enter(guest[0]), "busybox", "ping", "-c", "1", "-W", "1", address]
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            if subprocess.run(ping, capture_output=True, check=False).returncode == 0:
                return True
        return False

    def unplugged(self, guest: Any) -> None:
        _space, node, tap = guest
        with NetNS(self.space(node), flags=0) as host:
            for index in host.link_lookup(ifname=tap):
                host.link("del", index=index)

    def mtu(self, node: str, target: NicTarget) -> int:
        assert isinstance(target, Bridge)
        with NetNS(self.space(node), flags=0) as host:
            return int(host.get_links(host.link_lookup(ifname=target.bridge)[0])[0].get("ifla_mtu"))

    def enter(self, space: str) -> Sequence[str]:
        return ("nsenter", f"--net=/run/netns/{space}")

    def clean(self) -> None:
        for name in netns.listnetns():
            if name.startswith(f"{self.prefix}-"):
                netns.remove(name)


class TestStatic(NetworkContract):
    @pytest.fixture
    def rig(self) -> Iterator[Rig]:
        rig = Rig()
        yield rig
        rig.clean()
