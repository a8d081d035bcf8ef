"""The network driver `net_evpn` on one node: devices by kernel.py, who is where by fabric.py."""

from __future__ import annotations

from pvc_core.contracts.network import NetworkDriver
from pvc_core.contracts.targets import Bridge
from pvc_core.contracts.where import on_node
from pvc_core.model.network import Network, NetworkFound
from pvc_net_evpn.fabric import Fabric
from pvc_net_evpn.kernel import Kernel, bridge_name


class EvpnNetworks(NetworkDriver):
    """The devices are made even while FRR does not run: guests of one node talk, and the rest follows."""

    def __init__(self, fabric: Fabric, kernel: Kernel) -> None:
        self._fabric, self._kernel = fabric, kernel

    @on_node
    def ensure_network(self, network: Network, *, deadline_s: float) -> bool:
        changed = self._kernel.ensure(network.vni, network.id, self._fabric.local, network.mtu)
        self._fabric.demand_ready()
        return changed

    @on_node
    def remove_network(self, network: Network, *, deadline_s: float) -> None:
        self._kernel.remove(network.vni, network.id)

    @on_node
    def list_networks(self, *, deadline_s: float) -> list[NetworkFound]:
        return self._kernel.list()

    @on_node
    def plug(self, network: Network, *, vm_uuid: str, mac: str, deadline_s: float) -> Bridge:
        self._kernel.ensure(network.vni, network.id, self._fabric.local, network.mtu)
        return Bridge(bridge=bridge_name(network.vni), mtu=network.mtu)
