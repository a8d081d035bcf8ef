"""A distributed gateway on this node, over netlink: its addresses and its MAC on the network's own bridge, as on every
other node's. What its guests send there reaches this node alone, whoever is primary.

The MAC is the bridge's, which EVPN does not advertise (FRR does so only if told to), so nodes do not fight for it. Its
other side is that an answer to the gateway's question for a guest of another node goes to that node's gateway: there
`listen` makes the kernel believe it, and FRR tells it to the one who asked (RFC 9135's MAC/IP routes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pvc_core.errors import Retry
from pvc_core.model.network import Network
from pvc_net_common.links import ports
from pvc_net_common.names import mac_of
from pvc_net_evpn.gateway import addressed, addresses, by_device, gateway_mac, resting_mac, told
from pvc_net_evpn.kernel import bridge_name

STALE = 0x04
"""NUD_STALE, linux/neighbour.h: used at once, and asked about while it is; FRR takes it as well as any."""


class Anycast:
    """`open` gives a netlink socket in the namespace that is meant."""

    def __init__(self, open: Callable[[], Any] = IPRoute) -> None:
        self._open = open

    def there(self) -> Mapping[int, Sequence[Any]]:
        """The addresses of this node, for `spread` of one network after the other."""
        with self._open() as ip:
            return by_device(ip)

    def spread(self, network: Network, there: Mapping[int, Sequence[Any]]) -> bool:
        """This node is the gateway for its guests; True if anything was changed. Raises Retry."""
        try:
            with self._open() as ip:
                bridge = _bridge(ip, network)
                if bridge is None:
                    raise Retry(f"there is no {bridge_name(network.vni)} for the gateway of network {network.ref}")
                changed = _called(ip, bridge, gateway_mac(network))
                return addressed(ip, bridge["index"], addresses(network), there.get(bridge["index"], ())) or changed
        except NetlinkError as error:
            raise told(error, network) from None

    def clear(self, network: Network) -> bool:
        """It is not, or not any more. Raises Retry."""
        try:
            with self._open() as ip:
                bridge = _bridge(ip, network)
                if bridge is None or bridge.get("ifla_address") != gateway_mac(network):
                    return False
                addressed(ip, bridge["index"], [])
                return _called(ip, bridge, resting_mac(network))
        except NetlinkError as error:
            raise told(error, network) from None

    def guests(self, network: Network) -> set[str]:
        """MACs of those plugged in here."""
        with self._open() as ip:
            bridge = _bridge(ip, network)
            names = [one.get("ifla_ifname") for one in ports(ip, bridge)] if bridge is not None else []
        return {mac for name in names if (mac := mac_of(name))}

    def introduce(self, network: Network, known: Mapping[str, str]) -> None:
        """`known`: address -> MAC of guests that are here. They become neighbours, of which the other nodes hear by
        EVPN: they can be reached before they have said a word. Raises Retry.
        """
        try:
            with self._open() as ip:
                if (bridge := _bridge(ip, network)) is not None:
                    for address, mac in known.items() - _neighbours(ip, bridge["index"]):
                        ip.neigh("replace", dst=address, lladdr=mac, ifindex=bridge["index"], state=STALE)
        except NetlinkError as error:
            raise told(error, network) from None


def listening(network: Network) -> list[str]:
    """Settings of the bridge (sysctl): an answer meant for another node's gateway, which has the same MAC, makes its
    sender known here.
    """
    name = bridge_name(network.vni)
    found = [f"net.ipv4.conf.{name}.arp_accept=1"] if network.ip4.gateway else []
    return found + ([f"net.ipv6.conf.{name}.accept_untracked_na=1"] if network.ip6.gateway else [])


def _bridge(ip: Any, network: Network) -> Any:
    found = ip.link_lookup(ifname=bridge_name(network.vni))
    return ip.get_links(found[0])[0] if found else None


def _called(ip: Any, bridge: Any, mac: str) -> bool:
    if bridge.get("ifla_address") == mac:
        return False
    ip.link("set", index=bridge["index"], address=mac)
    return True


def _neighbours(ip: Any, index: int) -> set[tuple[str, str]]:
    """The kernel itself leaves out those of other devices (since Linux 4.4)."""
    entries = [
        one
        for family in (AF_INET, AF_INET6)
        for one in ip.neigh("dump", dump_filter=lambda one: one["ifindex"] == index, family=family, NDA_IFINDEX=index)
    ]
    return {
        (str(ip_address(one.get_attr("NDA_DST"))), one.get_attr("NDA_LLADDR"))
        for one in entries
        if one.get_attr("NDA_LLADDR")
    }
