"""The network driver `net_vlan` on one node: devices by kernel.py, what passes at the guests' ports by net_common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyroute2 import IPRoute

from pvc_core.contracts.where import on_node
from pvc_core.model.network import Network, NetworkFound
from pvc_net_common.filters import Filters
from pvc_net_common.guarded import GuardedNetworks
from pvc_net_vlan.definitions import vid_of
from pvc_net_vlan.kernel import Kernel


class VlanNetworks(GuardedNetworks):
    """While the trunk is away guests of one node still talk; the rest follows when it is back."""

    def __init__(self, kernel: Kernel, filters: Filters, open: Callable[[], Any] = IPRoute) -> None:
        super().__init__(filters, open)
        self._kernel = kernel

    def ensure_devices(self, network: Network, *, deadline_s: float) -> bool:
        return self._kernel.ensure(network.vni, network.id, vid_of(network), network.mtu)

    def remove_devices(self, network: Network, *, deadline_s: float) -> bool:
        return self._kernel.remove(network.vni, network.id)

    @on_node
    def list_networks(self, *, deadline_s: float) -> list[NetworkFound]:
        return self._kernel.list()
