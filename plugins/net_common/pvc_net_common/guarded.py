# SPDX-License-Identifier: LGPL-3.0-or-later
"""A network driver whose guests plug into a bridge with filters at their ports: all but the making of the network."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from pyroute2 import IPRoute

from pvc_core.contracts.network import NetworkDriver
from pvc_core.contracts.targets import Bridge
from pvc_core.contracts.where import on_node
from pvc_core.model.network import Acl, AclCount, Network
from pvc_net_common.filters import Filters
from pvc_net_common.links import find, ports
from pvc_net_common.names import bridge_name, mac_of, tap_name
from pvc_net_common.rules import NONE


class GuardedNetworks(NetworkDriver):
    """Subclasses make and remove the devices; the filters come before the first frame and go after the last."""

    def __init__(self, filters: Filters, open: Callable[[], Any] = IPRoute) -> None:
        """`open`: a netlink socket in the node's namespace."""
        self._filters, self._open = filters, open
        self._coming: dict[int, set[str]] = {}
        """VNI -> MACs that were plugged in this life: their ports may not be in the bridge yet."""
        self._coming_lock = threading.Lock()
        self._filtered: dict[int, Network] = {}
        """By VNI, as its filters were last made."""
        self._filter_lock = threading.Lock()

    @abstractmethod
    def ensure_devices(self, network: Network, *, deadline_s: float) -> bool:
        """As ensure_network, without filters."""

    @abstractmethod
    def remove_devices(self, network: Network, *, deadline_s: float) -> bool:
        """As remove_network, without filters; False when what is there belongs to another network of that VNI."""

    def leased(self, network: Network) -> Mapping[str, str]:
        """Address -> MAC of the guest that it is lent to, who may send from no other. For networks whose driver gives
        addresses; from memory. After a change comes `refilter`.
        """
        return NONE

    def refilter(self, vni: int) -> None:
        """Other addresses are lent than before: the ports' filters are made again. Raises Permanent."""
        with self._filter_lock:
            if (network := self._filtered.get(vni)) is not None:
                self._filters.ensure(network, self._macs(vni), self.leased(network))

    @on_node
    def ensure_network(self, network: Network, *, deadline_s: float) -> bool:
        return self._made(network, deadline_s)

    @on_node
    def remove_network(self, network: Network, *, deadline_s: float) -> None:
        if self.remove_devices(network, deadline_s=deadline_s):
            with self._filter_lock:
                self._filtered.pop(network.vni, None)
                self._filters.remove(network.vni)
            with self._coming_lock:
                self._coming.pop(network.vni, None)

    @on_node
    def plug(self, network: Network, *, vm_uuid: str, mac: str, deadline_s: float) -> Bridge:
        with self._coming_lock:
            self._coming.setdefault(network.vni, set()).add(mac.lower())
        self._made(network, deadline_s)
        return Bridge(bridge=bridge_name(network.vni), device=tap_name(mac), mtu=network.mtu)

    @on_node
    def unplug(self, network: Network, *, vm_uuid: str, mac: str, deadline_s: float) -> None:
        with self._coming_lock:
            self._coming.get(network.vni, set()).discard(mac.lower())
        if mac.lower() not in self._macs(network.vni):  # its port may still be there: a guest that ends slowly
            self._filters.unplug(mac)

    @on_node
    def check_acl(self, network: Network, acl: Acl, *, deadline_s: float) -> None:
        self._filters.check(acl)

    @on_node
    def acl_counts(self, network: Network, *, deadline_s: float) -> list[AclCount]:
        return self._filters.counts(network)

    def _made(self, network: Network, deadline_s: float) -> bool:
        with self._filter_lock:
            filtered = self._filters.ensure(network, self._macs(network.vni), self.leased(network))
            self._filtered[network.vni] = network
        return self.ensure_devices(network, deadline_s=deadline_s) or filtered

    def _macs(self, vni: int) -> set[str]:
        """NICs whose ports are in the bridge, or will be."""
        with self._open() as ip:
            bridge = find(ip, bridge_name(vni))
            names = [port.get("ifla_ifname") for port in ports(ip, bridge)] if bridge is not None else []
        with self._coming_lock:
            return {mac for name in names if (mac := mac_of(name))} | self._coming.get(vni, set())
