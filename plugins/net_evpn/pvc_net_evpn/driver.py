"""The network driver `net_evpn` on one node: devices by kernel.py, who is where by fabric.py, what the
primary does by router.py."""

from __future__ import annotations

from pvc_core.contracts.network import NetworkDriver
from pvc_core.contracts.targets import Bridge
from pvc_core.contracts.where import on_node
from pvc_core.model.network import GivenAddress, Network, NetworkFound
from pvc_net_evpn.fabric import Fabric
from pvc_net_evpn.kernel import Kernel, bridge_name
from pvc_net_evpn.options import wishes
from pvc_net_evpn.router import Router


class EvpnNetworks(NetworkDriver):
    """The devices are made even while FRR does not run: guests of one node talk, and the rest follows."""

    def __init__(self, fabric: Fabric, kernel: Kernel, router: Router) -> None:
        self._fabric, self._kernel, self._router = fabric, kernel, router

    @on_node
    def ensure_network(self, network: Network, *, deadline_s: float) -> bool:
        changed = self._made(network)
        self._router.want(network)
        self._fabric.demand_ready()
        return changed

    @on_node
    def remove_network(self, network: Network, *, deadline_s: float) -> None:
        self._router.forget(network)
        self._kernel.remove(network.vni, network.id)

    @on_node
    def list_networks(self, *, deadline_s: float) -> list[NetworkFound]:
        return self._kernel.list()

    @on_node
    def plug(self, network: Network, *, vm_uuid: str, mac: str, deadline_s: float) -> Bridge:
        self._made(network)
        return Bridge(bridge=bridge_name(network.vni), mtu=network.mtu)

    @on_node
    def given_addresses(self, network: Network, *, deadline_s: float) -> list[GivenAddress]:
        return [
            GivenAddress(address=one.address, mac=one.mac, hostname=one.hostname, expires_s=one.expires_s)
            for one in self._router.book.of(network.id)
        ]

    def _made(self, network: Network) -> bool:
        suppress = wishes(network).arp_suppression
        return self._kernel.ensure(network.vni, network.id, self._fabric.local, network.mtu, suppress=suppress)
