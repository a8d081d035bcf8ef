# SPDX-License-Identifier: LGPL-3.0-or-later
"""Networks for guests: what is wanted of one, what a driver finds, what a node sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class NetworkPhase(StrEnum):
    READY = "ready"
    REMOVING = "removing"
    """A tombstone: every node takes it down and says so, then the record goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """One address family of a network, as text; "" where there is none. Checked by services before it is stored."""

    network: str = ""
    """With its prefix length, "10.20.0.0/24"."""
    gateway: str = ""
    """The cluster's own address there, held by the primary."""
    dhcp: bool = False
    dhcp_start: str = ""
    dhcp_end: str = ""

    @property
    def prefix_length(self) -> str:
        return self.network.partition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A guest's fixed address."""

    mac: str
    address: str
    hostname: str = ""


class AclDirection(StrEnum):
    IN = "in"
    """To a guest."""
    OUT = "out"
    """From a guest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acl:
    """One rule at the ports of a network's guests, told as an nftables statement of the bridge family."""

    name: str
    """Unique in the network; the wire calls it description."""
    direction: AclDirection
    rule: str
    """As it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AclCount:
    """What an ACL has matched on one node since it was loaded there."""

    name: str
    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAddress:
    """A lease."""

    address: str
    mac: str
    """"" where the guest named itself otherwise (DHCPv6)."""
    hostname: str = ""
    expires_s: int = 0
    """Wall clock, seconds since 1970; 0: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Wanted. `id` is made once and never used again, so that a new network of an old VNI is told from the old one."""

    vni: int
    id: str
    name: str
    """Unique; the wire calls it description."""
    nettype: str
    """A word of use.networks in pvc.yaml, which says whose driver makes it."""
    mtu: int = 0
    """Bytes inside the network; 0: as large as the driver can on these hosts."""
    domain: str = ""
    name_servers: tuple[str, ...] = ()
    ip4: Subnet = field(default_factory=Subnet)
    ip6: Subnet = field(default_factory=Subnet)
    options: dict[str, str] = field(default_factory=dict)
    """The driver's own, checked by its schema."""
    reservations: tuple[Reservation, ...] = ()
    acls: tuple[Acl, ...] = ()
    """In the order in which a direction's are asked; the first that decides wins, and without one a frame passes."""
    phase: NetworkPhase = NetworkPhase.READY
    asked_by: str = ""

    @property
    def ref(self) -> str:
        return f"{self.vni} ({self.name})"

    def acls_of(self, direction: AclDirection) -> tuple[Acl, ...]:
        return tuple(acl for acl in self.acls if acl.direction is direction)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFound:
    """A network as the driver finds it on a node. `id` is "" for one that PVC did not make."""

    vni: int
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSeen:
    """One record per node: what its drivers made of the networks."""

    node: str
    usable: dict[str, str] = field(default_factory=dict)
    """VNI as text -> id of the network that carries traffic here."""
    faults: dict[str, str] = field(default_factory=dict)
    """VNI as text -> why it does not, in words."""
    gone: tuple[str, ...] = ()
    """Ids of networks being removed of which nothing is left here."""
