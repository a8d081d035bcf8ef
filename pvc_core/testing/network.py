# SPDX-License-Identifier: LGPL-3.0-or-later
"""A network driver on wires of pretence, which all nodes share. It passes contract_network.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from marshmallow import Schema, fields

from pvc_core.contracts.network import NetworkCapabilities, NetworkDefinitions, NetworkDriver
from pvc_core.contracts.targets import Bridge, NicTarget
from pvc_core.errors import PvcError, Refused
from pvc_core.model.network import GivenAddress, Network, NetworkFound

HEADERS_BYTES = 50
"""What a VXLAN over IPv4 takes of each packet (RFC 7348: Ethernet, IPv4, UDP, VXLAN)."""


class FakeNetworkOptions(Schema):
    """`option=key=value` of a network."""

    colour = fields.String()


class FakeNetworkDefinitions(NetworkDefinitions):
    network_options = FakeNetworkOptions

    def __init__(self, capabilities: NetworkCapabilities | None = None) -> None:
        self.capabilities = capabilities or NetworkCapabilities(
            nic_targets=(Bridge,), vni_max=16_777_215, gateway=True, dhcp=True
        )

    def mtu_max(self, host_mtus: Mapping[str, int]) -> int:
        return host_mtus.get("cluster", 1500) - HEADERS_BYTES


@dataclass
class FakeNetworkWorld:
    """What every node has. `fault` is raised by the next calls while it is set."""

    networks: dict[str, dict[int, Network]] = field(default_factory=dict)
    """Node -> VNI -> what was made there."""
    plugged: dict[tuple[str, int, str], str] = field(default_factory=dict)
    """(node, VNI, MAC) -> VM's UUID."""
    given: dict[int, list[GivenAddress]] = field(default_factory=dict)
    """VNI -> its leases."""
    fault: PvcError | None = None

    def driver(self, node: str = "hv1") -> FakeNetwork:
        return FakeNetwork(self, node)


class FakeNetwork(NetworkDriver):
    """The driver on one node."""

    def __init__(self, world: FakeNetworkWorld, node: str) -> None:
        self.world, self.node = world, node

    def ensure_network(self, network: Network, *, deadline_s: float) -> bool:
        self._may_fail()
        changed = self._here.get(network.vni) != network
        self._here[network.vni] = network
        return changed

    def remove_network(self, network: Network, *, deadline_s: float) -> None:
        self._may_fail()
        there = self._here.get(network.vni)
        if there is None or there.id != network.id:
            return
        if users := [mac for node, vni, mac in self.world.plugged if (node, vni) == (self.node, network.vni)]:
            raise Refused(f"network {network.ref} has guests plugged in: {', '.join(sorted(users))}")
        del self._here[network.vni]

    def list_networks(self, *, deadline_s: float) -> list[NetworkFound]:
        self._may_fail()
        return [NetworkFound(vni=vni, id=one.id) for vni, one in sorted(self._here.items())]

    def plug(self, network: Network, *, vm_uuid: str, mac: str, deadline_s: float) -> NicTarget:
        self.ensure_network(network, deadline_s=deadline_s)
        self.world.plugged[self.node, network.vni, mac] = vm_uuid
        return Bridge(bridge=f"vmbr{network.vni}")

    def unplug(self, network: Network, *, vm_uuid: str, mac: str, deadline_s: float) -> None:
        self.world.plugged.pop((self.node, network.vni, mac), None)

    def given_addresses(self, network: Network, *, deadline_s: float) -> list[GivenAddress]:
        self._may_fail()
        return list(self.world.given.get(network.vni, ()))

    def release_address(self, network: Network, address: str, *, deadline_s: float) -> None:
        left = [one for one in self.given_addresses(network, deadline_s=deadline_s) if one.address != address]
        self.world.given[network.vni] = left

    @property
    def _here(self) -> dict[int, Network]:
        return self.world.networks.setdefault(self.node, {})

    def _may_fail(self) -> None:
        if self.world.fault is not None:
            raise self.world.fault
