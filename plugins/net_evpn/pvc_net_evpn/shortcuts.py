"""What nodes do with frames to a distributed gateway, as one nftables table of the bridge family. Pure; router.py loads
it, on all nodes alike, whoever is primary.

A node's own gateway gets what the node can route by itself: packets to networks joined with the sender's, and ICMP to
the gateway. All else (upstream, source NAT, names, metadata, networks that only one side may open connections to) goes
on to the primary, by the MAC of its cable, which EVPN knows the place of. So whatever asks for a connection's state is
asked at one place, which sees both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from pvc_core.model.network import Network, Subnet
from pvc_net_evpn.gateway import gateway_mac, link_local, primary_mac
from pvc_net_evpn.kernel import vxlan_name
from pvc_net_evpn.options import joined, wishes

TABLE = "pvc_evpn"
CLEARED = f"table bridge {TABLE}\ndelete table bridge {TABLE}\n"


def shortcuts(networks: Sequence[Network]) -> str:
    """The whole table for those of these networks whose gateway is distributed; loaded in one transaction."""
    spread = [one for one in networks if wishes(one).distributed]
    if not spread:
        return CLEARED
    ways = ", ".join(f"{gateway_mac(one)} : goto to{one.vni}" for one in spread)
    lines = [
        f"table bridge {TABLE} {{",
        *(line for one in spread for line in _to(one, spread)),
        " chain prerouting {",
        "  type filter hook prerouting priority 0; policy accept;",  # what a guest may send has been asked before
        f"  ether daddr vmap {{ {ways} }}",
        " }",
        " chain forward {",
        "  type filter hook forward priority 0; policy accept;",
        *(line for one in spread for line in _kept(one)),
        " }",
        "}",
    ]
    return CLEARED + "\n".join(lines) + "\n"


def _to(network: Network, spread: Sequence[Network]) -> list[str]:
    """Renewals of leases go to everybody, as a guest's first question does: dnsmasq hears them where it listens."""
    near = [one for one in spread if joined(network, one)]
    lines = [f" chain to{network.vni} {{"]
    for family, icmp, own in (("ip", "icmp", _four), ("ip6", "ipv6-icmp", _six)):
        gateways = [own(one).gateway for one in near if own(one).gateway]
        nets = [str(ip_network(own(one).network)) for one in near if own(one).gateway]
        if not own(network).gateway:
            continue
        if family == "ip":
            lines.append(f"  ip daddr {network.ip4.gateway} udp dport 67 ether daddr set ff:ff:ff:ff:ff:ff accept")
        else:
            nets.append(link_local(gateway_mac(network)))
        lines.append(f"  {family} daddr {_set(gateways)} meta l4proto != {icmp} goto primary{network.vni}")
        lines.append(f"  {family} daddr {_set(nets)} accept")
    lines += [f"  ether type {{ ip, ip6 }} goto primary{network.vni}", " }"]
    far = [f" chain primary{network.vni} {{", f"  ether daddr set {primary_mac(network)}", " }"]
    return [*far, *lines]


def _kept(network: Network) -> list[str]:
    """Who asks for the gateway is answered by his own node."""
    if not network.ip4.gateway:
        return []
    return [f'  oifname "{vxlan_name(network.vni)}" arp operation request arp daddr ip {network.ip4.gateway} drop']


def _four(network: Network) -> Subnet:
    return network.ip4


def _six(network: Network) -> Subnet:
    return network.ip6


def _set(values: Sequence[str]) -> str:
    return "{ " + ", ".join(values) + " }"
