"""The gateway of a network, over netlink: a cable whose one end is plugged into the network's bridge like a guest's,
and whose other end has the addresses and the MAC. Who may have it is router.py's.

Address and MAC move as one, so that nobody has to notice: a guest's ARP entry stays right, and EVPN says where the MAC
is now. The addresses are not on the bridge itself: a bridge's own MAC is no guest that can move, and as long as the
node that died has not been missed, its route would win over the new one (seen in a lab: gateway gone for good).

Where the gateway is distributed (anycast.py), the cable is for what only the primary does, and has a MAC that no guest
knows: shortcuts.py sends it there.
"""

from __future__ import annotations

import errno
import hashlib
import threading
from collections.abc import Callable, Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pvc_core.errors import Retry
from pvc_core.model.network import Network
from pvc_net_evpn.kernel import NO_LINK_LOCAL, bridge_name, far_name, gateway_name, port_name
from pvc_net_evpn.options import wishes

NODAD = 0x02
"""IFA_F_NODAD, linux/if_addr.h: the claim on it is the primary's lease, and a second of waiting would be lost."""
TRIES = 100
REACHABLE, NTF_MASTER, NTF_USE = 0x02, 0x04, 0x01
"""linux/neighbour.h: an entry of the bridge as if it had been learned, which ages and may move."""
METADATA = IPv4Interface("169.254.169.254/32")
APART = ":m"
"""Ends the label of METADATA, which all networks' gateways have: to dnsmasq an address with a label is another
interface's than the one it serves, so it does not try to listen there, where only the first of them could.
"""
UNNAMED, NOBODY = IPv4Interface("169.254.169.253/32"), "169.254.169.252"
"""What a cable speaks under that has no address of the network, and whom it asks for."""
Interface = IPv4Interface | IPv6Interface


def gateway_mac(network: Network) -> str:
    """The gateway's, wherever it is: locally administered (IEEE 802 2.2), and never another network's."""
    return _mac(f"gateway {network.id}")


def primary_mac(network: Network) -> str:
    """Of the cable's end on the primary. Where the gateway is distributed, its own MAC is that of every node."""
    return _mac(f"primary {network.id}") if wishes(network).distributed else gateway_mac(network)


def resting_mac(network: Network) -> str:
    """The bridge's own after it has been a gateway; nobody sends to it."""
    return _mac(f"bridge {network.id}")


def primary_name(network: Network) -> str:
    """The cable's end that has these MAC and addresses."""
    return far_name(network.vni) if wishes(network).distributed else gateway_name(network.vni)


def primary_addresses(network: Network) -> list[Interface]:
    """What only the primary has: the metadata service's address, and all of the gateway's unless every node has it."""
    metadata = [METADATA] if network.ip4.gateway else []
    if wishes(network).distributed:
        return [UNNAMED, *metadata]
    return [*addresses(network), *metadata]


def addresses(network: Network) -> list[Interface]:
    """What the gateway has: its own, and for IPv6 the link-local one that guests are told."""
    found: list[Interface] = []
    for subnet in (network.ip4, network.ip6):
        if subnet.gateway:
            found.append(ip_interface(f"{subnet.gateway}/{subnet.prefix_length}"))
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
        try:
            with self._open() as ip:
                return _given(ip, network)
        except NetlinkError as error:
            raise told(error, network) from None

    def take(self, network: Network) -> bool:
        """No address and no MAC of ours is there any more, also none of an earlier life. Gone already: fine."""
        try:
            with self._open() as ip:
                return _removed(ip, gateway_name(network.vni), far_name(network.vni))
        except NetlinkError as error:
            raise told(error, network) from None


def _given(ip: Any, network: Network) -> bool:
    """The port comes up last, and its MAC is told to the bridge as if it had been heard there: so EVPN takes it for a
    guest that moved, whose new place outweighs the old one at once (RFC 7432 15), also while the old one's node has not
    been missed yet.
    """
    name, mac, wanted = primary_name(network), primary_mac(network), primary_addresses(network)
    bridge = ip.link_lookup(ifname=bridge_name(network.vni))
    if not bridge:
        raise Retry(f"there is no {bridge_name(network.vni)} for the gateway of network {network.ref}")
    mtu = ip.get_links(bridge[0])[0].get("ifla_mtu")
    changed = _removed(ip, *({gateway_name(network.vni), far_name(network.vni)} - {name}))
    found, port = ip.link_lookup(ifname=name), ip.link_lookup(ifname=port_name(network.vni))
    if found and (not port or ip.get_links(found[0])[0].get("ifla_address") != mac):
        ip.link("del", index=found[0])
        found = []
    fresh = not found
    if fresh:
        peer = {"ifname": port_name(network.vni), "mtu": mtu}
        ip.link("add", ifname=name, kind="veth", address=mac, mtu=mtu, peer=peer)
        found, port = ip.link_lookup(ifname=name), ip.link_lookup(ifname=port_name(network.vni))
        for index in (found[0], port[0]):
            ip.link("set", index=index, IFLA_AF_SPEC=NO_LINK_LOCAL)
        changed = True
    for index in (found[0], port[0]):
        if ip.get_links(index)[0].get("ifla_mtu") != mtu:
            ip.link("set", index=index, mtu=mtu)
            changed = True
    changed = addressed(ip, found[0], wanted, () if fresh else None) or changed
    if changed or ip.get_links(port[0])[0].get("ifla_master") != bridge[0]:
        ip.link("set", index=found[0], state="up")
        ip.link("set", index=port[0], master=bridge[0], state="up")
        if wishes(network).distributed:  # it hears what is sent to its MAC only: the bridge itself has heard the rest
            ip.brport("set", index=port[0], unicast_flood=0, mcast_flood=0, bcast_flood=0)
        _learned(ip, port[0], mac)
        _speak(ip, found[0], wanted)
        changed = True
    return changed


def _removed(ip: Any, *names: str) -> bool:
    found = [index for name in names for index in ip.link_lookup(ifname=name)]
    for index in found:
        ip.link("del", index=index)
    return bool(found)


def _learned(ip: Any, port: int, mac: str) -> None:
    """The bridge takes it once the port forwards, which the kernel brings about in its own time: milliseconds."""
    for again in range(TRIES):
        try:
            ip.fdb("replace", ifindex=port, lladdr=mac, state=REACHABLE, flags=NTF_MASTER)
            return
        except NetlinkError as error:
            if error.code != errno.EPERM or again == TRIES - 1:
                raise
        threading.Event().wait(0.01)


def _speak(ip: Any, index: int, wanted: list[Interface]) -> None:
    """The kernel asks for a neighbour, in broadcast, from the gateway's MAC: every bridge hears where it is. Without it
    nothing was delivered before the gateway spoke by itself (seen by running), although the bridge had its entry.
    """
    for address in wanted:
        if address == UNNAMED:
            ip.neigh("replace", dst=NOBODY, ifindex=index, state=0, flags=NTF_USE)
        elif address.network.num_addresses > 2 and not address.is_link_local:
            other = next(one for one in address.network.hosts() if one != address.ip)
            ip.neigh("replace", dst=str(other), ifindex=index, state=0, flags=NTF_USE)


def by_device(ip: Any) -> dict[int, list[Any]]:
    """Index -> addresses. One device's alone takes the kernel and pyroute2 as long: there may be a thousand."""
    found: dict[int, list[Any]] = {}
    for one in ip.get_addr():
        found.setdefault(one["index"], []).append(one)
    return found


def addressed(ip: Any, index: int, wanted: list[Interface], now: Sequence[Any] | None = None) -> bool:
    """The device has these addresses and no others; True if anything was changed. `now`: those it has, if that is
    known. Raises NetlinkError.
    """
    there: set[Interface] = set()
    changed = False
    for one in by_device(ip).get(index, ()) if now is None else now:
        address = ip_interface(f"{one.get_attr('IFA_ADDRESS')}/{one['prefixlen']}")
        if address in wanted and (address != METADATA or str(one.get_attr("IFA_LABEL")).endswith(APART)):
            there.add(address)
        else:
            ip.addr("del", index=index, address=str(address.ip), prefixlen=address.network.prefixlen)
            changed = True
    for address in wanted:
        if address not in there:
            more: dict[str, Any] = {"flags": NODAD} if address.version == 6 else {}
            if address == METADATA:
                more["label"] = f"{ip.get_links(index)[0].get('ifla_ifname')}{APART}"
            ip.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **more)
    return changed or there != {*wanted}


def told(error: NetlinkError, network: Network) -> Retry:
    return Retry(f"the kernel did not set the gateway of network {network.ref}: {error}")


def _mac(word: str) -> str:
    plain = hashlib.sha256(word.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *plain[:5]))
