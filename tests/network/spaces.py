"""A rig whose nodes and guests are network namespaces: guests are plugged in, ping, and are taken out with packets of
the kernel's own. What the nodes have between them is each plugin's rig's."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from typing import Any

import pyroute2
from pyroute2 import NetNS, netns

from pvc_core.clock import SystemClock
from pvc_core.contracts.targets import Bridge, NicTarget
from pvc_core.testing.context import FakeContext
from pvc_core.testing.network_rig import NetworkRig
from pvc_net_common.filters import Filters


@dataclass(frozen=True)
class Guest:
    space: str
    node: str
    tap: str


class SpaceRig(NetworkRig):
    """For one test: `clean` takes away what it made. Nodes are the namespaces `space(NODE)`."""

    def __init__(self, prefix: str = "") -> None:
        pyroute2.config.default_create_socket_timeout = 60  # seconds; the namespace's socket comes from a process
        self.prefix = prefix or f"pvc{os.getpid()}"
        self.guests: list[Guest] = []

    def space(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def filters(self, node: str) -> Filters:
        return Filters(FakeContext({}).run, SystemClock(), enter=("nsenter", f"--net=/run/netns/{self.space(node)}"))

    def guest(self, node: str, target: NicTarget, mac: str, address: str) -> object:
        assert isinstance(target, Bridge)
        number = len(self.guests) + 1
        made = Guest(self.space(f"g{number}"), node, target.device or f"tap{number}")
        with NetNS(made.space) as inside, NetNS(self.space(node), flags=0) as host:
            peer = {"ifname": "eth0", "net_ns_fd": made.space, "address": mac}
            host.link("add", ifname=made.tap, kind="veth", peer=peer)
            bridge, tap = host.link_lookup(ifname=target.bridge)[0], host.link_lookup(ifname=made.tap)[0]
            host.link("set", index=tap, master=bridge, state="up")
            eth0 = inside.link_lookup(ifname="eth0")[0]
            ip, _, prefix = address.partition("/")
            inside.addr("add", index=eth0, address=ip, prefixlen=int(prefix))
            for index in (1, eth0):
                inside.link("set", index=index, state="up")
        self.guests.append(made)
        return made

    def reaches(self, guest: object, address: str, *, within_s: float) -> bool:
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            if self.inside(guest, "busybox", "ping", "-c", "1", "-W", "1", address).returncode == 0:
                return True
        return False

    def inside(self, guest: object, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program as the guest."""
        assert isinstance(guest, Guest)
        return self.run(guest.space, *argv)

    def on_node(self, node: str, *argv: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.space(node), *argv)

    def run(self, space: str, *argv: str) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", f"--net=/run/netns/{space}", *argv]
        return subprocess.run(enter, capture_output=True, check=False, text=True)

    def unplugged(self, guest: object) -> None:
        assert isinstance(guest, Guest)
        with NetNS(self.space(guest.node), flags=0) as host:
            for index in host.link_lookup(ifname=guest.tap):
                host.link("del", index=index)

    def mtu(self, node: str, target: NicTarget) -> int:
        assert isinstance(target, Bridge)
        with NetNS(self.space(node), flags=0) as host:
            link: Any = host.get_links(host.link_lookup(ifname=target.bridge)[0])[0]
            return int(link.get("ifla_mtu"))

    def clean(self) -> None:
        for name in netns.listnetns():
            if name.startswith(f"{self.prefix}-"):
                netns.remove(name)
