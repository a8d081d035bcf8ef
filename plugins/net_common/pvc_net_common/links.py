# SPDX-License-Identifier: LGPL-3.0-or-later
"""The bridge of a network on this node, over netlink: made, marked, kept, listed, taken down. What else is in it
(VXLAN, VLAN, a cable) is the plugin's.

The bridge's alias says which plugin made it for which network, so that what is ours is known after every restart.
Functions take an open pyroute2 socket in the namespace that is meant and raise NetlinkError; `told` puts that in words.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from pvc_core.errors import Permanent, Refused, Retry
from pvc_core.model.network import NetworkFound
from pvc_net_common.names import bridge_name

_LACKING = (95, 93)
"""EOPNOTSUPP, EPROTONOSUPPORT: this kernel has no such device."""
_NO_ADDRESS = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", 1)]})]}
"""IN6_ADDR_GEN_MODE_NONE: guests shall not reach the node by a link-local address that nobody asked for."""


def find(ip: Any, name: str) -> Any:
    """The link's message, or None."""
    found = ip.link_lookup(ifname=name)
    return ip.get_links(found[0])[0] if found else None


def info(link: Any, name: str) -> Any:
    """A property of the link's kind, like "ifla_vlan_id"; None where it has none such."""
    return link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", name.upper())


def network_id(link: Any, mark: str) -> str:
    """Of the network that a plugin with this mark made the bridge for; "" if none did."""
    alias = link.get("ifla_ifalias") or ""
    return alias.removeprefix(f"{mark} ") if alias.startswith(f"{mark} ") else ""


def ensure_bridge(ip: Any, vni: int, *, mtu: int, **more: Any) -> tuple[Any, bool]:
    """(the bridge, whether it was made now), not up and not marked yet: `finish` does that when all else stands."""
    bridge = find(ip, bridge_name(vni))
    if bridge is not None:
        return bridge, False
    ip.link("add", ifname=bridge_name(vni), kind="bridge", br_forward_delay=0, mtu=mtu, **more)
    bridge = find(ip, bridge_name(vni))
    ip.link("set", index=bridge["index"], IFLA_AF_SPEC=_NO_ADDRESS)
    return bridge, True


def finish(ip: Any, bridge: Any, *others: Any, mtu: int, id: str, mark: str) -> bool:
    """The bridge, what else belongs to the network and the guests' ports have this MTU; the first two are up. True if
    anything was changed.
    """
    changed = False
    taps = [port for port in ports(ip, bridge) if port["index"] not in {other["index"] for other in others}]
    for link in (*others, *taps, bridge):  # the bridge last: it follows its ports, and is told then what it has
        state = "up" if link not in taps else link["state"]
        if link.get("ifla_mtu") != mtu or link["state"] != state:
            ip.link("set", index=link["index"], mtu=mtu, **({} if link in taps else {"state": "up"}))
            changed = True
    if network_id(bridge, mark) != id:
        ip.link("set", index=bridge["index"], ifalias=f"{mark} {id}")
        changed = True
    return changed


def ports(ip: Any, bridge: Any) -> list[Any]:
    """The kernel itself leaves out the others (since Linux 4.4): all devices of 500 networks take half a second."""
    index = bridge["index"]
    return list(ip.link("dump", dump_filter=lambda link: link.get("ifla_master") == index, master=index))


def demand_empty(ip: Any, vni: int, bridge: Any, own: Collection[str]) -> None:
    """Raises Refused while anything but `own` devices is in the bridge."""
    names = sorted(port.get("ifla_ifname") for port in ports(ip, bridge))
    if others := [name for name in names if name not in own]:
        raise Refused(
            f"network {vni} still has guests plugged in here: {', '.join(others)}",
            help="stop those guests, or remove their network cards",
        )


def listed(ip: Any, mark: str) -> list[NetworkFound]:
    """What plugins with this mark made here."""
    names = [(link.get("ifla_ifname"), network_id(link, mark)) for link in ip.get_links()]
    return [
        NetworkFound(vni=int(name.removeprefix("vmbr")), id=id)
        for name, id in names
        if id and name.startswith("vmbr") and name.removeprefix("vmbr").isdecimal()
    ]


def told(error: NetlinkError, what: str, needs: str) -> Permanent | Retry:
    """`what` was attempted ("make network 100"); `needs` names the kernel's modules for it ("bridge and 8021q")."""
    if error.code in _LACKING:
        return Permanent(f"this node cannot {what}: its kernel lacks {needs}", help=f"load {needs}")
    return Retry(f"the kernel did not {what}: {error}", again_in_s=2.0)
