"""Two nodes as network namespaces whose trunks are the ends of one cable; it needs a kernel that has VLANs."""

from __future__ import annotations

from functools import partial

from pyroute2 import NetNS

from pvc_core.contracts.network import NetworkDriver
from pvc_net_vlan.definitions import VlanDefinitions
from pvc_net_vlan.driver import VlanNetworks
from pvc_net_vlan.kernel import Kernel
from tests.network.spaces import SpaceRig

TRUNK = "trunk0"


class VlanRig(SpaceRig):
    nettype = "bridged"

    def __init__(self) -> None:
        super().__init__()
        self.definitions = VlanDefinitions()
        for node in ("hv1", "hv2"):
            NetNS(self.space(node)).close()  # made here
        self.cable()

    def cable(self) -> None:
        with NetNS(self.space("hv1"), flags=0) as here, NetNS(self.space("hv2"), flags=0) as there:
            here.link("add", ifname=TRUNK, kind="veth", peer={"ifname": TRUNK, "net_ns_fd": self.space("hv2")})
            for space in (here, there):
                space.link("set", index=space.link_lookup(ifname=TRUNK)[0], state="up")

    def cut(self) -> None:
        """The trunks are gone on both nodes."""
        with NetNS(self.space("hv1"), flags=0) as here:
            here.link("del", index=here.link_lookup(ifname=TRUNK)[0])

    def kernel(self, node: str, **more: object) -> Kernel:
        return Kernel(TRUNK, open=partial(NetNS, self.space(node), flags=0), **more)

    def driver(self, node: str) -> NetworkDriver:
        open = partial(NetNS, self.space(node), flags=0)
        return VlanNetworks(self.kernel(node), self.filters(node), open)
