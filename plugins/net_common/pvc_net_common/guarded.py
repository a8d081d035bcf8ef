# SPDX-License-Identifier: LGPL-3.0-or-later
"""A network driver whose guests plug into a bridge with filters at their ports: all but the making of the network."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from pyroute2 import IPRoute

from pvc_core.contracts.network import NetworkDriver
from pvc_core.contracts.targets import Bridge
from pvc_core.contracts.where import on_node
from pvc_core.model.network import Acl, AclCount, Network
from pvc_net_common.filters import Filters
from pvc_net_common.links import find, ports
from pvc_net_common.names import bridge_name, mac_of, tap_name


class GuardedNetworks(NetworkDriver):
    """Subclasses make and remove the devices; the filters come before the first frame and go after the last."""

    def __init__(self, filters: Filters, open: Callable[[], Any] = IPRoute) -> None:
        """`open`: a netlink socket in the node's namespace."""
        self._filters, self._open = filters, open
        self._coming: dict[int, set[str]] = {}
        """VNI -> MACs that were plugged in this life: their ports may not be in the bridge yet."""
        self._coming_lock = threading.Lock()

    @abstractmethod
    def ensure_devices(self, network: Network, *, deadline_s: float) -> bool:
        """As ensure_network, without filters."""

    @abstractmethod
    def remove_devices(self, network: Network, *, deadline_s: float) -> bool:
        """As remove_network, without filters; False when what is there belongs to another network of that VNI."""

    @on_node
    def ensure_network(self, network: Network, *, deadline_s: float) -> bool:
        return self._made(network, deadline_s)

    @on_node
    def remove_network(self, network: Network, *, deadline_s: float) -> None:
        if self.remove_devices(network, deadline_s=deadline_s):
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
        filtered = self._filters.ensure(network, self._macs(network.vni))
        return self.ensure_devices(network, deadline_s=deadline_s) or filtered

    def _macs(self, vni: int) -> set[str]:
        """NICs whose ports are in the bridge, or will be."""
        with self._open() as ip:
            bridge = find(ip, bridge_name(vni))
            names = [port.get("ifla_ifname") for port in ports(ip, bridge)] if bridge is not None else []
        with self._coming_lock:
            return {mac for name in names if (mac := mac_of(name))} | self._coming.get(vni, set())
