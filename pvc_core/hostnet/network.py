"""One host network as pvc.yaml wants it: the bridge br<NAME> over its device, MTU, this node's address, default route.

What is right stays untouched, whoever made it; only addresses that PVC itself gave (Address.protocol) are ever removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Interface
from pathlib import Path
from typing import NoReturn

from pvc_core.config.sections import HostNetwork
from pvc_core.errors import Permanent
from pvc_core.hostnet import arp
from pvc_core.hostnet.links import HOST_PROTOCOL, Address, Gateway, Interface, Link, Links

PROC = Path("/proc/sys/net")


def bridge_name(network: str) -> str:
    return f"br{network}"


def ensure_network(network: str, wanted: HostNetwork) -> list[str]:
    """Make it so; what was changed, in words, empty when all was right.

    Raises Permanent: the device is missing, belongs to something else, or the kernel refused. What was done until then
    stays, and the next call goes on from there. Guests on the bridge keep running.
    """
    with Links() as links:
        return _Ensuring(links, network, wanted).run()


def ensure_all(networks: Mapping[str, HostNetwork]) -> dict[str, list[str] | Permanent]:
    """Every one of `networks` at once, each with what ensure_network returned or raised."""

    def ensured(network: str) -> list[str] | Permanent:
        try:
            return ensure_network(network, networks[network])
        except Permanent as error:
            return error

    with ThreadPoolExecutor(len(networks) or 1) as threads:
        return dict(zip(networks, threads.map(ensured, networks), strict=True))


class _Ensuring:
    """One pass over one network."""

    def __init__(self, links: Links, network: str, wanted: HostNetwork) -> None:
        self._links, self._network, self._wanted = links, network, wanted
        self._changes: list[str] = []

    def run(self) -> list[str]:
        device = self._device()
        bridge = self._bridge(device)
        self._mtu(device, bridge)
        self._enslave(device, bridge)
        for link in (device, bridge):
            if not link.up:
                self._links.set_up(link)
                self._changed(f"{link.name} is on")
        self._address(device, bridge)
        if self._wanted.gateway is not None:
            self._route(self._wanted.gateway, device, bridge)
        return self._changes

    def _changed(self, sentence: str) -> None:
        self._changes.append(sentence)

    # -- links ---------------------------------------------------------------------------------------------------------

    def _device(self) -> Link:
        name = self._wanted.device
        return self._links.find(name) or self._vlan(name)

    def _vlan(self, name: str) -> Link:
        """PARENT.ID is made where the kernel can; anything else must be there."""
        parent_name, dot, id = name.rpartition(".")
        parent = self._links.find(parent_name) if dot and id.isdecimal() and 1 <= int(id) <= 4094 else None
        if parent is None:
            there = ", ".join(sorted(link.name for link in self._links.all() if _could_carry(link)))
            raise Permanent(
                f"host network {self._network}: there is no device {name} on this machine",
                help=f"mend host_networks.{self._network}.device in pvc.yaml; there are: {there or 'none'}",
            )
        self._links.add_vlan(name, parent, int(id))
        self._changed(f"VLAN {id} on {parent.name} is made")
        if not parent.up:
            self._links.set_up(parent)
        return self._there(name)

    def _bridge(self, device: Link) -> Link:
        name = bridge_name(self._network)
        bridge = self._links.find(name)
        if bridge is None:
            # The device's own MAC: neighbours that know the host by it need not learn, and no guest's tap changes it.
            self._links.add_bridge(name, device.mac)
            self._changed(f"bridge {name} is made")
            bridge = self._there(name)
        if bridge.kind != "bridge":
            raise Permanent(
                f"host network {self._network}: {name} is there and is no bridge ({bridge.kind or 'a real device'})",
                help="rename or remove it: PVC makes the bridge of that name itself",
            )
        return bridge

    def _there(self, name: str) -> Link:
        found = self._links.find(name)
        if found is None:
            raise Permanent(f"host network {self._network}: {name} vanished as soon as it was made")
        return found

    def _enslave(self, device: Link, bridge: Link) -> None:
        if device.master == bridge.index:
            return
        if device.master:
            other = next((link.name for link in self._links.all() if link.index == device.master), "another")
            raise Permanent(
                f"host network {self._network}: {device.name} belongs to {other} already",
                help="a device can carry one host network only; name another, or take it out of there",
            )
        self._links.set_master(device, bridge)
        self._changed(f"{device.name} is in {bridge.name}")

    def _mtu(self, device: Link, bridge: Link) -> None:
        wanted = self._wanted.mtu
        for link in (device, bridge):
            if wanted is not None and link.mtu != wanted:
                self._links.set_mtu(link, wanted)
                self._changed(f"the MTU of {link.name} is {wanted}")

    # -- addresses and routes ------------------------------------------------------------------------------------------

    def _address(self, device: Link, bridge: Link) -> None:
        """The new one first, then the one PVC gave before; the kernel promotes what was second."""
        _promote_secondaries(bridge.name)
        there = self._links.addresses(bridge)
        wanted = self._wanted.address
        if wanted is not None:
            self._give(wanted, there, device, bridge)
        for address in there:
            if address.protocol == HOST_PROTOCOL and address.interface != wanted:
                self._links.remove_address(bridge, address.interface)
                self._changed(f"{bridge.name} has {address.interface} no more")

    def _give(self, wanted: Interface, there: list[Address], device: Link, bridge: Link) -> None:
        """The host may have had it on the device itself until now: a port of a bridge has none of its own."""
        on_device = [found for found in self._links.addresses(device) if found.interface.ip == wanted.ip]
        found = next((address for address in there if address.interface == wanted), None)
        if found is not None and found.duplicate:
            self._refuse(wanted, "another machine")
        if found is None:
            if isinstance(wanted, IPv4Interface) and not on_device:
                place = arp.Place(bridge.name, bridge.mac, wanted.ip)
                for mac in arp.owners([place]).values():
                    self._refuse(wanted, f"the machine {mac}")
            self._links.add_address(bridge, wanted, HOST_PROTOCOL)
            self._changed(f"{bridge.name} has {wanted}")
        for address in on_device:
            self._links.remove_address(device, address.interface)
            self._changed(f"{address.interface} moved from {device.name}")

    def _refuse(self, wanted: Interface, who: str) -> NoReturn:
        raise Permanent(
            f"host network {self._network}: {who} has the address {wanted.ip} already",
            help="give each node an address of its own in pvc.yaml",
        )

    def _route(self, gateway: Gateway, device: Link, bridge: Link) -> None:
        if self._is_routed(gateway, device, bridge):
            return
        self._links.add_default_route(gateway, bridge)
        if not self._is_routed(gateway, device, bridge):
            raise Permanent(f"host network {self._network}: somebody else changes the default route at this moment")
        self._changed(f"the default route goes to {gateway}")

    def _is_routed(self, gateway: Gateway, device: Link, bridge: Link) -> bool:
        """Ours, and one through the device, give way; one that somebody else set stays, and is told."""
        routes = self._links.default_routes(gateway.version)
        right = any(route.gateway == gateway and route.index == bridge.index for route in routes)
        for route in routes:
            ours = route.protocol == HOST_PROTOCOL or route.index == device.index
            if ours and not (route.gateway == gateway and route.index == bridge.index):
                self._links.remove_default_route(route)
            elif not ours and not right:
                raise Permanent(
                    f"host network {self._network}: this host has a default route to {route.gateway} already",
                    help="remove it, or take `gateway` out of pvc.yaml",
                )
        return right


def _could_carry(link: Link) -> bool:
    """A real device, bond or VLAN; or the end of a cable between namespaces."""
    return link.kind in ("", "bond", "vlan", "veth") and link.name != "lo"


def _promote_secondaries(bridge: str) -> None:
    """Without it the kernel removes every address of a subnet with the first one (ip-sysctl, promote_secondaries)."""
    try:
        (PROC / "ipv4/conf" / bridge / "promote_secondaries").write_text("1")
    except OSError:
        pass  # no IPv4, or read-only: the next pass gives back what went
