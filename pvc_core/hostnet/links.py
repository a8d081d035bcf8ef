"""What PVC asks the kernel about links, addresses and routes, over netlink (pyroute2), in the caller's own namespace.

Words for what the kernel refuses are made here; what should be there is decided in network.py and floating.py.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_interface
from types import TracebackType
from typing import Any, TypeVar

from pvc_core.errors import Permanent

T = TypeVar("T")
Interface = IPv4Interface | IPv6Interface
Gateway = IPv4Address | IPv6Address

HOST_PROTOCOL, FLOATING_PROTOCOL = 0x70, 0x71
"""Who made an address or a route, kept by the kernel beside it (IFA_PROTO, since Linux 5.18; RTA_PROTOCOL)."""

_IFF_UP = 0x1
_IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x08, 0x40  # linux/if_addr.h
_TABLE_MAIN = 254


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    name: str
    kind: str
    mtu: int
    mac: str
    up: bool
    master: int
    """Index of the bridge or bond it is a port of; 0 for none."""


@dataclass(frozen=True, slots=True)
class Address:
    interface: Interface
    protocol: int
    tentative: bool
    """The kernel still asks whether somebody else has it (IPv6)."""
    duplicate: bool
    """Somebody else has (IPv6)."""


@dataclass(frozen=True, slots=True)
class Route:
    gateway: Gateway | None
    index: int
    protocol: int
    metric: int


class Links:
    """Use as a context: one netlink socket, one thread. Every call raises Permanent with the kernel's reason."""

    def __enter__(self) -> Links:
        from pyroute2 import IPRoute  # here: pvcapid imports this room too, and needs no 10 MB of netlink

        self._ip: Any = IPRoute()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ip.close()

    # links

    def find(self, name: str) -> Link | None:
        """Asked for by its name: where there are hundreds of networks for guests, a list of all takes half a second."""
        there = self._ask(
            f"look for the network device {name}",
            lambda: self._ip.link("get", ifname=name),
            well=(19, 22, 34),  # ENODEV; EINVAL and ERANGE: no device could be called so
        )
        return next((link for link in map(_link, there) if link.name == name), None)  # not one with it as an alias

    def all(self) -> list[Link]:
        return [_link(message) for message in self._ask("list the network devices", lambda: self._ip.get_links())]

    def add_bridge(self, name: str, mac: str) -> None:
        """Forwards at once: a host's bridge is a leaf, with no loop to wait for. A link that came meanwhile stays."""
        self._add(f"make bridge {name}", ifname=name, kind="bridge", br_forward_delay=0, address=mac)

    def add_vlan(self, name: str, parent: Link, id: int) -> None:
        """A link of this name that came meanwhile stays."""
        self._add(f"make VLAN {id} on {parent.name}", ifname=name, kind="vlan", link=parent.index, vlan_id=id)

    def set_up(self, link: Link) -> None:
        self._ask(f"switch {link.name} on", lambda: self._ip.link("set", index=link.index, state="up"))

    def set_mtu(self, link: Link, mtu: int) -> None:
        what = f"set the MTU of {link.name} to {mtu}"
        self._ask(what, lambda: self._ip.link("set", index=link.index, mtu=mtu))

    def set_master(self, link: Link, bridge: Link) -> None:
        what = f"put {link.name} into bridge {bridge.name}"
        self._ask(what, lambda: self._ip.link("set", index=link.index, master=bridge.index))

    # addresses

    def addresses(self, link: Link) -> list[Address]:
        what = f"list the addresses of {link.name}"
        return [_address(message) for message in self._ask(what, lambda: self._ip.get_addr(index=link.index))]

    def add_address(self, link: Link, interface: Interface, protocol: int) -> None:
        """One that is there already keeps being there, and is marked as ours."""
        self._ask(
            f"give {link.name} the address {interface}",
            lambda: self._ip.addr(
                "replace",
                index=link.index,
                address=str(interface.ip),
                prefixlen=interface.network.prefixlen,
                proto=protocol,
            ),
        )

    def remove_address(self, link: Link, interface: Interface) -> None:
        """One that is not there is no fault."""
        self._ask(
            f"take the address {interface} from {link.name}",
            lambda: self._ip.addr(
                "del", index=link.index, address=str(interface.ip), prefixlen=interface.network.prefixlen
            ),
            well=(19, 99),  # ENODEV: the device went with it; EADDRNOTAVAIL
        )

    # routes

    def default_routes(self, version: int) -> list[Route]:
        """Of the main table; `version` is 4 or 6."""
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        found = self._ask("list the routes", lambda: self._ip.get_routes(family=family, table=_TABLE_MAIN))
        return [_route(message) for message in found if message["dst_len"] == 0 and message.get_attr("RTA_OIF")]

    def add_default_route(self, gateway: Gateway, link: Link) -> None:
        """One that came meanwhile stays; whose it is, `default_routes` tells."""
        self._ask(
            f"set the default route to {gateway} on {link.name}",
            lambda: self._ip.route(
                "add", dst=_default(gateway), gateway=str(gateway), oif=link.index, proto=HOST_PROTOCOL
            ),
            well=(17,),  # EEXIST
        )

    def remove_default_route(self, route: Route) -> None:
        gateway = route.gateway
        if gateway is not None:
            self._ask(
                f"remove the default route to {gateway}",
                lambda: self._ip.route(
                    "del", dst=_default(gateway), gateway=str(gateway), oif=route.index, priority=route.metric
                ),
                well=(3,),  # ESRCH
            )

    def _add(self, what: str, **link: Any) -> None:
        """`pvcnoded hostnet` and a daemon that begins make the same ones."""
        self._ask(what, lambda: self._ip.link("add", **link), well=(17,))  # EEXIST

    def _ask(self, what: str, call: Callable[[], Any], well: tuple[int, ...] = ()) -> list[Any]:
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            return list(call() or ())
        except NetlinkError as error:
            if error.code in well:
                return []
            raise Permanent(f"cannot {what}: {os.strerror(error.code)}", help=_help(error.code)) from None
        except OSError as error:
            raise Permanent(f"cannot {what}: {error.strerror or error}") from None


def _help(code: int) -> str:
    return {
        1: "is pvcnoded run as root?",
        22: "the device or the kernel does not take that value",
        95: "this kernel cannot; load the module, or make the device yourself and name it in pvc.yaml",
    }.get(code, "")


def _default(gateway: Gateway) -> str:
    return "0.0.0.0/0" if gateway.version == 4 else "::/0"


def _link(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=(info.get_attr("IFLA_INFO_KIND") if info else None) or "",
        mtu=message.get_attr("IFLA_MTU"),
        mac=message.get_attr("IFLA_ADDRESS") or "",
        up=bool(message["flags"] & _IFF_UP),
        master=message.get_attr("IFLA_MASTER") or 0,
    )


def _address(message: Any) -> Address:
    flags = message.get_attr("IFA_FLAGS") or 0
    ip = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    return Address(
        interface=ip_interface(f"{ip}/{message['prefixlen']}"),
        protocol=message.get_attr("IFA_PROTO") or 0,
        tentative=bool(flags & _IFA_F_TENTATIVE),
        duplicate=bool(flags & _IFA_F_DADFAILED),
    )


def _route(message: Any) -> Route:
    gateway = message.get_attr("RTA_GATEWAY")
    return Route(
        gateway=ip_interface(gateway).ip if gateway else None,
        index=message.get_attr("RTA_OIF"),
        protocol=message["proto"],
        metric=message.get_attr("RTA_PRIORITY") or 0,
    )
