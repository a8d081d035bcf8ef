"""The network driver `net_evpn` on one node: devices by kernel.py, who is where by fabric.py, what the
primary does by router.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pvc_core.contracts.targets import Bridge
from pvc_core.contracts.where import on_node
from pvc_core.model.network import GivenAddress, Network, NetworkFound
from pvc_net_common.filters import Filters
from pvc_net_common.guarded import GuardedNetworks
from pvc_net_evpn.fabric import Fabric
from pvc_net_evpn.kernel import Kernel
from pvc_net_evpn.options import wishes
from pvc_net_evpn.router import Router


class EvpnNetworks(GuardedNetworks):
    """The devices are made even while FRR does not run: guests of one node talk, and the rest follows."""

    def __init__(self, fabric: Fabric, kernel: Kernel, router: Router, filters: Filters) -> None:
        super().__init__(filters, kernel.open)
        self._fabric, self._kernel, self._router = fabric, kernel, router
        router.leased.tell = self.refilter

    @on_node
    def ensure_network(self, network: Network, *, deadline_s: float) -> bool:
        changed = super().ensure_network(network, deadline_s=deadline_s)
        self._fabric.announce(network)
        self._router.want(replace(network, acls=()))  # its work does not hang on them: a change of rules waits for none
        self._fabric.demand_ready()
        return changed

    def leased(self, network: Network) -> Mapping[str, str]:
        return self._router.book.lent(network.id)

    @on_node
    def plug(self, network: Network, *, vm_uuid: str, mac: str, deadline_s: float) -> Bridge:
        target = super().plug(network, vm_uuid=vm_uuid, mac=mac, deadline_s=deadline_s)
        self._router.plugged(network.vni)
        return target

    def ensure_devices(self, network: Network, *, deadline_s: float) -> bool:
        suppress = wishes(network).arp_suppression
        made = self._kernel.ensure(network.vni, network.id, self._fabric.local, network.mtu, suppress=suppress)
        return self._kernel.flood(self._fabric.others(), self._fabric.local, network.vni) or made

    def remove_devices(self, network: Network, *, deadline_s: float) -> bool:
        self._router.forget(network)
        removed = self._kernel.remove(network.vni, network.id)
        if removed:
            self._fabric.withdraw(network.vni)
        return removed

    @on_node
    def list_networks(self, *, deadline_s: float) -> list[NetworkFound]:
        return self._kernel.list()

    @on_node
    def given_addresses(self, network: Network, *, deadline_s: float) -> list[GivenAddress]:
        return [
            GivenAddress(address=one.address, mac=one.mac, hostname=one.hostname, expires_s=one.expires_s)
            for one in self._router.book.of(network.id)
        ]

    @on_node
    def release_address(self, network: Network, address: str, *, deadline_s: float) -> None:
        self._router.release(network, address)
