"""What the gateway lets through, as one nftables table. Pure; router.py loads it.

Guests of one network and guests of another are apart unless `route_to` allows it; upstream is reached unless
`upstream=no`; the hosts' other networks and the node itself are not, but for the services of the gateway. A network
whose gateway is distributed comes in by its bridge on every node, for what that node routes itself, and by the cable on
the primary, for all else (shortcuts.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from pvc_core.model.network import Network
from pvc_net_evpn.kernel import bridge_name, far_name, gateway_name, home_name
from pvc_net_evpn.options import joined, wishes

TABLE = "pvc_evpn"
UPSTREAM = "brupstream"
HOST_BRIDGES = ("brcluster", "brstorage", UPSTREAM)
METADATA = "169.254.169.254"
"""Where guests of every cloud ask who they are (RFC 3927's link-local range)."""

CLEARED = f"table inet {TABLE}\ndelete table inet {TABLE}\n"
"""Loading it leaves nothing of the table, whether it was there or not."""


def ruleset(networks: Sequence[Network], *, nat_address: str = "") -> str:
    """The whole table for these networks (those whose gateway is here); loaded in one transaction.

    `nat_address`: the cluster's IPv4 address on upstream that follows the primary; without it guests go out under the
    node's own.
    """
    if not networks:
        return CLEARED
    names = [name for one in networks for name in _entrances(one)]
    body = [
        f"table inet {TABLE} {{",
        _set("managed", "ifname", names),
        _set("hosts", "ifname", HOST_BRIDGES),
        _set("allowed", "ifname . ifname", [f"{one} . {other}" for one, other in _allowed(networks)]),
        *_forward(),
        *_input(networks),
        *_nat(networks, nat_address),
        "}",
    ]
    return CLEARED + "\n".join(body) + "\n"


def _allowed(networks: Sequence[Network]) -> list[tuple[str, str]]:
    """(in, out) of connections that may be opened."""
    known, pairs = {one.vni: one for one in networks}, [(bridge, bridge) for bridge in HOST_BRIDGES]
    for one in networks:
        wants, primary = wishes(one), _entrances(one)[-1]
        reached = [known[vni] for vni in sorted({*wants.route_to, one.vni} & known.keys())]
        pairs += [(primary, home_name(other)) for other in reached]
        pairs += [(bridge_name(one.vni), home_name(other)) for other in reached if joined(one, other)]
        if wants.upstream:
            pairs.append((primary, UPSTREAM))
            pairs += [] if wants.nat else [(UPSTREAM, home_name(one))]
    return pairs


def _entrances(network: Network) -> list[str]:
    """Where its guests' packets come in; the last one is the primary's alone."""
    if wishes(network).distributed:
        return [bridge_name(network.vni), far_name(network.vni)]
    return [gateway_name(network.vni)]


def _forward() -> list[str]:
    return [
        " chain forward {",
        "  type filter hook forward priority filter; policy accept;",
        "  ct state established,related accept",
        "  iifname . oifname @allowed accept",
        "  iifname @managed counter drop",
        "  oifname @managed counter drop",
        "  iifname @hosts oifname @hosts counter drop",
        " }",
    ]


def _input(networks: Sequence[Network]) -> list[str]:
    """To the node itself: ICMP, DNS, DHCP, NTP, TFTP, and the metadata service for whoever has an address of the very
    network he asks from.
    """
    own = [f"  iifname {_q(_entrances(one)[-1])} ip saddr {_net(one)} accept" for one in networks if one.ip4.network]
    return [
        " chain metadata {",
        *own,
        "  counter drop",
        " }",
        " chain input {",
        "  type filter hook input priority filter; policy accept;",
        "  iifname != @managed accept",
        f"  ip daddr {METADATA} tcp dport 80 jump metadata",
        "  ct state established,related accept",
        "  meta l4proto { icmp, ipv6-icmp } accept",
        "  udp dport { 53, 67, 69, 123, 547 } accept",
        "  tcp dport 53 accept",
        "  counter drop",
        " }",
    ]


def _nat(networks: Sequence[Network], address: str) -> list[str]:
    to = f"snat ip to {address}" if address else "masquerade"
    rules = [
        f"  ip saddr {_net(one)} oifname {_q(UPSTREAM)} {to}"
        for one in networks
        if wishes(one).nat and wishes(one).upstream and one.ip4.network
    ]
    if not rules:
        return []
    return [" chain postrouting {", "  type nat hook postrouting priority srcnat; policy accept;", *rules, " }"]


def _net(network: Network) -> str:
    return str(ip_network(network.ip4.network))


def _set(name: str, type: str, elements: Sequence[str]) -> str:
    quoted = ", ".join(" . ".join(_q(word) for word in one.split(" . ")) for one in elements)
    return f" set {name} {{ type {type}; elements = {{ {quoted} }} }}"


def _q(word: str) -> str:
    return f'"{word}"'
