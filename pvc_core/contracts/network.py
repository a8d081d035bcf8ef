# SPDX-License-Identifier: LGPL-3.0-or-later
"""The network driver: networks of one kind, made on every node. A small mandatory core, the rest by capabilities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from marshmallow import Schema

from pvc_core.contracts.targets import NicTarget
from pvc_core.contracts.where import on_node
from pvc_core.errors import Refused
from pvc_core.model.network import Acl, AclCount, GivenAddress, Network, NetworkFound


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCapabilities:
    """Data. What is not declared is refused by the core before any driver hears of it."""

    nic_targets: tuple[type, ...]
    """The NicTarget types that plug may return."""
    vni_max: int
    """The largest number a network of this kind can have (16777215 for VXLAN, 4094 for VLAN)."""
    gateway: bool = False
    """The cluster itself can have an address in the network (Subnet.gateway) and route to and from it."""
    dhcp: bool = False
    """Guests can be given addresses (Subnet.dhcp, reservations)."""
    acls: bool = False
    """Network.acls are obeyed at every guest's port, also between two guests of one node."""
    anti_spoofing: bool = False
    """A guest sends with its NIC's own MAC and, where the network has addresses, with one of them that is its own."""


class NetworkDefinitions(ABC):
    """The pure half."""

    capabilities: NetworkCapabilities
    network_options: type[Schema]
    """Checks a network's `option=key=value` pairs; the driver itself gets Network.options as given."""

    @abstractmethod
    def mtu_max(self, host_mtus: Mapping[str, int]) -> int:
        """The largest MTU inside a network, where the host networks (upstream, cluster, storage) have these; bytes."""

    def check(self, network: Network) -> None:  # noqa: B027  # optional
        """Raises Invalid or Refused for a network that this driver cannot make; common rules are the core's."""

    def check_beside(self, network: Network, other: Network) -> None:  # noqa: B027  # optional
        """Raises Refused for a network that this driver cannot make while it makes `other`, of the same type; that VNI,
        description and addresses are others' is seen to by the core.
        """


class NetworkDriver(ABC):
    """Every call is idempotent, keyed by Network.vni and Network.id; may come from any worker thread, never two at once
    for one network; returns within `deadline_s` seconds. Raises Retry, Refused, Permanent; nothing else.
    """

    @abstractmethod
    @on_node
    def ensure_network(self, network: Network, *, deadline_s: float) -> bool:
        """`network` carries traffic on this node. There and equal: touches nothing. There but different: changed in
        place, guests stay connected. What only one node may do (gateway, DHCP) the driver does where and while
        PluginContext.is_primary, and follows on_primary by itself. Returns True if anything was changed.
        """

    @abstractmethod
    @on_node
    def remove_network(self, network: Network, *, deadline_s: float) -> None:
        """Nothing of the network with this id is left on this node. Gone already: fine; a network of the same VNI with
        another id stays. Raises Refused while a guest is plugged in.
        """

    @abstractmethod
    @on_node
    def list_networks(self, *, deadline_s: float) -> list[NetworkFound]:
        """Every network of this kind on this node. Raises Retry rather than leave any out."""

    @abstractmethod
    @on_node
    def plug(self, network: Network, *, vm_uuid: str, mac: str, deadline_s: float) -> NicTarget:
        """What the guest's NIC plugs into here. ensure_network has succeeded before in this life of the daemon, or is
        done now. Raises Retry when it cannot be yet.
        """

    @on_node
    def given_addresses(self, network: Network, *, deadline_s: float) -> list[GivenAddress]:
        """Addresses that guests have been given (leases), without reservations that nobody asked for yet. Asked on the
        primary, and only with the capability dhcp. Raises Retry rather than leave any out.
        """
        return []

    @on_node
    def release_address(self, network: Network, address: str, *, deadline_s: float) -> None:
        """The lease of `address` has ended, and others may be given it; a guest that has it asks anew when it would
        renew. Asked on the primary, and only with the capability dhcp. There is none: fine. Raises Retry, Refused.
        """
        raise Refused("this driver does not end leases", help="take the guest's network card away, or wait")

    @on_node
    def unplug(self, network: Network, *, vm_uuid: str, mac: str, deadline_s: float) -> None:
        """The guest's NIC is no longer here: what plug noted for it is forgotten. Not plugged: fine."""
        return

    def pinned(self, network: Network) -> str:
        """Why a guest plugged into it cannot be moved while it runs, in words that follow "because"; "" when it can.
        Returns at once.
        """
        return ""

    @on_node
    def check_acl(self, network: Network, acl: Acl, *, deadline_s: float) -> None:
        """Capability acls: this node's kernel takes the rule, and it is one statement; asked before it is stored, and
        changes nothing. Raises Refused with the words of what reads it.
        """
        raise Refused("this driver has no ACLs")

    @on_node
    def acl_counts(self, network: Network, *, deadline_s: float) -> list[AclCount]:
        """Capability acls: what each has matched on this node since it was loaded; empty where nothing is known."""
        return []
