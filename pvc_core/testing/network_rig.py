# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a network driver's author gives the conformance suite (contract_network.py): nodes whose guests can talk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from pvc_core.contracts.network import NetworkDefinitions, NetworkDriver
from pvc_core.contracts.targets import NicTarget
from pvc_core.ids import new_uuid
from pvc_core.model.network import Network, Subnet


class NetworkRig(ABC):
    """Two nodes of one cluster, hv1 and hv2, without any network at the beginning of each test."""

    definitions: NetworkDefinitions
    nettype = "managed"
    deadline_s = 30.0
    """What a call is given."""
    arrival_s = 30.0
    """Within this time a packet must have found its way: this machine is slow, too."""

    @abstractmethod
    def driver(self, node: str) -> NetworkDriver:
        """A fresh driver on `node`, as after a restart of the daemon; what it works on is as the one before left it."""

    @abstractmethod
    def guest(self, node: str, target: NicTarget, mac: str, address: str) -> object:
        """A guest with this NIC and address ("10.20.0.5/24") on `node`, as a hypervisor would plug it into `target`."""

    @abstractmethod
    def reaches(self, guest: object, address: str, *, within_s: float) -> bool:
        """Whether an answer comes from `address` (without prefix) to the guest within that time."""

    @abstractmethod
    def unplugged(self, guest: object) -> None:
        """The guest is gone."""

    @abstractmethod
    def mtu(self, node: str, target: NicTarget) -> int:
        """Of what the guest plugs into, read from the node itself."""

    def network(self, vni: int = 100, **changes: object) -> Network:
        """A network's record; nothing is made."""
        fields: dict[str, Any] = {"name": f"net{vni}", "ip4": Subnet(network=f"10.20.{vni % 256}.0/24"), **changes}
        return Network(vni=vni, id=new_uuid(), nettype=self.nettype, **fields)
