"""The gateway's addresses on a network's bridge, over netlink: given and taken together with the MAC that goes with
them. Who may have them is router.py's.

Address and MAC move as one, so that nobody has to notice: a guest's ARP entry stays right, and EVPN alone says where
the MAC is now (advertise-svi-ip in frrconf.py). An address whose MAC changed would not be noticed on other nodes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pvc_core.errors import Retry
from pvc_core.model.network import Network
from pvc_net_evpn.kernel import bridge_name

PROTOCOL = 0x72
"""Who made an address (IFA_PROTO, Linux 5.18): so an earlier life's is known, also when it is no longer wanted."""
NODAD = 0x02
"""IFA_F_NODAD, linux/if_addr.h: the claim on it is the primary's lease, and a second of waiting would be lost."""
METADATA = IPv4Interface("169.254.169.254/32")
Interface = IPv4Interface | IPv6Interface


def gateway_mac(network: Network) -> str:
    """The gateway's, wherever it is: locally administered (IEEE 802 2.2), and never another network's."""
    return _mac(f"gateway {network.id}")


def node_mac(network: Network, node: str) -> str:
    """Of the bridge of a node without the gateway. Given, because a bridge's own changes with its ports."""
    return _mac(f"{node} {network.id}")


def addresses(network: Network) -> list[Interface]:
    """What the gateway has: its own, the metadata service's, and for IPv6 the link-local one that guests are told."""
    found: list[Interface] = []
    for subnet in (network.ip4, network.ip6):
        if subnet.gateway:
            found.append(ip_interface(f"{subnet.gateway}/{subnet.prefix_length}"))
    if network.ip4.gateway:
        found.append(METADATA)
    if network.ip6.gateway:
        found.append(ip_interface(f"{link_local(gateway_mac(network))}/64"))
    return found


def link_local(mac: str) -> str:
    """RFC 4291 A: the modified EUI-64."""
    plain = bytes(int(word, 16) for word in mac.split(":"))
    last = bytes([plain[0] ^ 2, *plain[1:3], 0xFF, 0xFE, *plain[3:]])
    return str(ip_interface(b"\xfe\x80" + bytes(6) + last).ip)


class Gateways:
    """`open` gives a netlink socket in the namespace that is meant."""

    def __init__(self, open: Callable[[], Any] = IPRoute) -> None:
        self._open = open

    def give(self, network: Network) -> bool:
        """True if anything was changed. Raises Retry."""
        return self._set(network, gateway_mac(network), addresses(network))

    def take(self, network: Network, node: str) -> bool:
        """The bridge has no address of ours any more, also none of an earlier life. Gone altogether: fine."""
        return self._set(network, node_mac(network, node), [])

    def _set(self, network: Network, mac: str, wanted: list[Interface]) -> bool:
        try:
            with self._open() as ip:
                found = ip.link_lookup(ifname=bridge_name(network.vni))
                return bool(found) and _made(ip, found[0], mac, wanted)
        except NetlinkError as error:
            raise Retry(f"the kernel did not set the gateway of network {network.ref}: {error}") from None


def _made(ip: Any, index: int, mac: str, wanted: list[Interface]) -> bool:
    there = {ip_interface(f"{one.get_attr('IFA_ADDRESS')}/{one['prefixlen']}"): one for one in ip.get_addr(index=index)}
    changed = False
    for address, message in there.items():
        if address not in wanted and (message.get_attr("IFA_PROTO") or 0) == PROTOCOL:
            ip.addr("del", index=index, address=str(address.ip), prefixlen=address.network.prefixlen)
            changed = True
    if ip.get_links(index)[0].get("ifla_address") != mac:  # before the addresses: nobody hears of them with another
        ip.link("set", index=index, address=mac)
        changed = True
    for address in wanted:
        if address not in there:
            more: dict[str, Any] = {"flags": NODAD} if address.version == 6 else {}
            more |= {"address": str(address.ip), "prefixlen": address.network.prefixlen, "proto": PROTOCOL}
            ip.addr("add", index=index, **more)
            changed = True
    return changed


def _mac(word: str) -> str:
    plain = hashlib.sha256(word.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *plain[:5]))
