"""The devices of one network on this node: a bridge guests plug into and a VXLAN device in it, over netlink.

The bridge's alias names the network it was made for, so that what is ours is known after every restart. The VXLAN
device learns nothing by itself: where a guest is, EVPN says (fabric.py). What has no known place goes to every other
node, by a list that is kept here and not by FRR: a bgpd that dies, here or there, takes the knowledge with it who is
where, and packets still arrive.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pvc_core.errors import Permanent, Refused, Retry
from pvc_core.model.network import Network, NetworkFound
from pvc_net_common.floods import Floods
from pvc_net_common.links import ports
from pvc_net_common.names import mac_of
from pvc_net_evpn.definitions import HEADERS_BYTES
from pvc_net_evpn.options import wishes

PORT = 4789
"""IANA's for VXLAN (RFC 7348)."""
MARK = "pvc "
NO_LINK_LOCAL = {"attrs": [["AF_INET6", {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", 1]]}]]}
"""The bridge gets no IPv6 address by itself: guests would reach the node there, whether it is their gateway or not."""
_LACKING = (95, 93)
"""EOPNOTSUPP, EPROTONOSUPPORT: this kernel has no such device."""


def bridge_name(vni: int) -> str:
    """On every node alike: definitions of VMs name it."""
    return f"vmbr{vni}"


def vxlan_name(vni: int) -> str:
    return f"vxlan{vni}"


def gateway_name(vni: int) -> str:
    """The end of the gateway's cable that has the addresses."""
    return f"vmgw{vni}"


def port_name(vni: int) -> str:
    """The end that is in the bridge."""
    return f"vmgp{vni}"


def far_name(vni: int) -> str:
    """The cable's end where the gateway is distributed: what only the primary does comes in there."""
    return f"vmgc{vni}"


def home_name(network: Network) -> str:
    """The device that has the gateway's addresses."""
    return bridge_name(network.vni) if wishes(network).distributed else gateway_name(network.vni)


class Kernel:
    """`open` gives a netlink socket in the namespace that is meant; each call has one of its own."""

    def __init__(self, open: Callable[[], Any] = IPRoute) -> None:
        self.open = open
        self._floods = Floods()
        self._places: dict[str, int] = {}
        """Address -> index of the device that has it: among the gateways of 500 networks it takes long to find."""

    def mtu_of(self, address: str) -> int:
        """Of the device that has this address. Raises Retry: it is not there yet."""
        with self.open() as ip:
            return int(self._device_of(ip, address).get("ifla_mtu"))

    def _device_of(self, ip: Any, address: str, *, anew: bool = False) -> Any:
        """`anew`: the kernel is asked which one it is, not only whether the one it was is there still."""
        index = self._places.get(address)
        if index is None or anew or not (found := _link(ip, index)):
            index = next((one["index"] for one in ip.get_addr() if one.get("address") == address), None)
            if index is None or not (found := _link(ip, index)):
                self._places.pop(address, None)
                raise Retry(f"no device of this node has the address {address} yet", again_in_s=2.0)
            self._places[address] = index
        return found

    def ensure(self, vni: int, id: str, local: str, mtu: int, *, suppress: bool = False) -> bool:
        """Bridge and VXLAN device as wanted; True if anything was changed. `suppress`: this node answers ARP for guests
        of other nodes. Raises Permanent, Retry.
        """
        try:
            with self.open() as ip:
                carried = mtu or int(self._device_of(ip, local).get("ifla_mtu")) - HEADERS_BYTES
                changed = self._ensure(ip, vni, id, local, carried)
                return _suppressed(ip, ip.link_lookup(ifname=vxlan_name(vni))[0], suppress) or changed
        except NetlinkError as error:
            raise _told(error, f"make network {vni}") from None

    def flood(self, others: Collection[str], local: str, vni: int | None = None) -> bool:
        """What has no known place goes to these nodes, in this network or, looked at anew in the kernel, in all of
        ours; True if anything was changed. `local`: this node's address where they are reached. Raises Retry,
        Permanent.
        """
        try:
            with self.open() as ip:
                via = self._device_of(ip, local, anew=vni is None)["index"]
                names = [vxlan_name(one.vni) for one in self.list()] if vni is None else [vxlan_name(vni)]
                return self._floods.ensure(ip, names, others, via, anew=vni is None)
        except NetlinkError as error:
            raise _told(error, "tell networks of the other nodes") from None

    def remove(self, vni: int, id: str) -> bool:
        """False when what is there is another network's. Raises Refused while anything but its own VXLAN device is in
        the bridge.
        """
        try:
            with self.open() as ip:
                bridge = _find(ip, bridge_name(vni))
                if bridge is not None and _id(bridge) not in ("", id):
                    return False
                vxlan = _find(ip, vxlan_name(vni))
                if bridge is not None:
                    _demand_empty(ip, vni, bridge)
                for link in (vxlan, bridge):  # the bridge last: its alias says whose the rest is
                    if link is not None:
                        ip.link("del", index=link["index"])
                return True
        except NetlinkError as error:
            raise _told(error, f"remove network {vni}") from None

    def list(self) -> list[NetworkFound]:
        with self.open() as ip:
            names = [(link.get("ifla_ifname"), _id(link)) for link in ip.get_links()]
        return [
            NetworkFound(vni=int(name.removeprefix("vmbr")), id=id)
            for name, id in names
            if id and name.startswith("vmbr") and name.removeprefix("vmbr").isdecimal()
        ]

    def _ensure(self, ip: Any, vni: int, id: str, local: str, mtu: int) -> bool:
        changed = False
        bridge, vxlan = _find(ip, bridge_name(vni)), _find(ip, vxlan_name(vni))
        if bridge is None:
            ip.link("add", ifname=bridge_name(vni), kind="bridge", br_forward_delay=0, mtu=mtu)
            bridge, changed = _find(ip, bridge_name(vni)), True
            ip.link("set", index=bridge["index"], IFLA_AF_SPEC=NO_LINK_LOCAL)
        assert bridge is not None
        if vxlan is not None and _attr(vxlan, "ifla_vxlan_local") != local:  # cannot be changed in place
            ip.link("del", index=vxlan["index"])
            vxlan = None
        if vxlan is None:
            ip.link(
                "add", ifname=vxlan_name(vni), kind="vxlan", vxlan_id=vni, vxlan_local=local, vxlan_port=PORT,
                vxlan_learning=False, mtu=mtu,
            )  # fmt: skip
            vxlan, changed = _find(ip, vxlan_name(vni)), True
        assert vxlan is not None
        if vxlan.get("ifla_master") != bridge["index"]:
            ip.link("set", index=vxlan["index"], master=bridge["index"])
            ip.brport("set", index=vxlan["index"], learning=0)
            changed = True
        for port in ports(ip, bridge):  # guests' were made with the MTU of then
            if mac_of(port.get("ifla_ifname")) is not None and port.get("ifla_mtu") != mtu:
                ip.link("set", index=port["index"], mtu=mtu)
                changed = True
        for link in (vxlan, bridge):
            if link.get("ifla_mtu") != mtu or link["state"] != "up":
                ip.link("set", index=link["index"], mtu=mtu, state="up")
                changed = True
        if _id(bridge) != id:
            ip.link("set", index=bridge["index"], ifalias=f"{MARK}{id}")
            changed = True
        return changed


def _find(ip: Any, name: str) -> Any:
    found = ip.link_lookup(ifname=name)
    return ip.get_links(found[0])[0] if found else None


def _link(ip: Any, index: int) -> Any:
    """Its message, or None when there is no such device any more."""
    try:
        return ip.get_links(index)[0]
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise
        return None


def _id(link: Any) -> str:
    alias = link.get("ifla_ifalias") or ""
    return alias.removeprefix(MARK) if alias.startswith(MARK) else ""


def _suppressed(ip: Any, index: int, wanted: bool) -> bool:
    port = ip.get_links(index)[0]
    if bool(port.get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA", "IFLA_BRPORT_NEIGH_SUPPRESS")) == wanted:
        return False
    ip.brport("set", index=index, neigh_suppress=int(wanted))
    return True


def _attr(link: Any, name: str) -> Any:
    return link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", name.upper())


def _demand_empty(ip: Any, vni: int, bridge: Any) -> None:
    names = [port.get("ifla_ifname") for port in ports(ip, bridge)]
    others = [name for name in names if name not in (vxlan_name(vni), port_name(vni))]
    if others:
        raise Refused(
            f"network {vni} still has guests plugged in here: {', '.join(sorted(others))}",
            help="stop those guests, or remove their network cards",
        )


def _told(error: NetlinkError, what: str) -> Permanent | Retry:
    if error.code in _LACKING:
        return Permanent(f"this node cannot {what}: its kernel has no bridge or VXLAN", help="load bridge and vxlan")
    return Retry(f"the kernel did not {what}: {error}", again_in_s=2.0)
