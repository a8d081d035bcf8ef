"""frr.conf as text, whole, from what is known of the nodes. Pure.

Coordinators are route reflectors for everybody (RFC 4456), so that hypervisors need no sessions among themselves;
networks stand nowhere in it: `advertise-all-vni` takes up every VXLAN device the kernel shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Peer:
    """A node as its EVPN speaker is found."""

    name: str
    address: str
    """On the cluster network, IPv4."""
    coordinator: bool


def frr_conf(me: Peer, nodes: Sequence[Peer], asn: int) -> str:
    """`nodes` may contain `me`."""
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
    lines.append(" address-family l2vpn evpn")
    for peer in peers:
        lines.append(f"  neighbor {peer.address} activate")
        if me.coordinator:
            lines.append(f"  neighbor {peer.address} route-reflector-client")
    lines += ["  advertise-all-vni", " exit-address-family", "exit", ""]
    return "\n".join(lines)
