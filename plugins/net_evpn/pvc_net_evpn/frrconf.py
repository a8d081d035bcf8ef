"""frr.conf as text, whole, from what is known of the nodes. Pure.

Coordinators are route reflectors for everybody (RFC 4456), so that hypervisors need no sessions among themselves;
networks stand nowhere in it: `advertise-all-vni` takes up every VXLAN device the kernel shows. Only where upstream's
routers are told of them (upstream.py) a coordinator's has them. `flooding disable`: the list of nodes that get what
has no known place is kernel.py's, which outlives a bgpd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pvc_net_evpn.upstream import Upstream, families, filters, neighbours


@dataclass(frozen=True, slots=True, order=True)
class Peer:
    """A node as its EVPN speaker is found."""

    name: str
    address: str
    """On the cluster network, IPv4."""
    coordinator: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What upstream's routers are told by a coordinator."""

    peers: Sequence[Upstream] = ()
    networks: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """VNI -> its prefixes that upstream shall know."""
    next_hops: Sequence[str] = ()
    """The floating addresses of upstream."""


def frr_conf(me: Peer, nodes: Sequence[Peer], asn: int, outside: Outside | None = None) -> str:
    """`nodes` may contain `me`."""
    upstream = outside if outside is not None and me.coordinator else Outside()
    others = [peer for peer in sorted(nodes) if peer.name != me.name]
    peers = others if me.coordinator else [peer for peer in others if peer.coordinator]
    lines = [
        "frr defaults datacenter",
        f"hostname {me.name}",
        f"router bgp {asn}",
        f" bgp router-id {me.address}",
        " no bgp default ipv4-unicast",
    ]
    for peer in peers:
        lines += [f" neighbor {peer.address} remote-as {asn}", f" neighbor {peer.address} timers connect 1"]
    lines += neighbours(upstream.peers)
    lines += families(upstream.peers, upstream.networks, upstream.next_hops)
    lines.append(" address-family l2vpn evpn")
    for peer in peers:
        lines.append(f"  neighbor {peer.address} activate")
        if me.coordinator:
            lines.append(f"  neighbor {peer.address} route-reflector-client")
    lines += ["  flooding disable", "  advertise-all-vni", " exit-address-family", "exit"]
    lines += [*filters(upstream.peers, upstream.networks, upstream.next_hops), ""]
    return "\n".join(lines)
