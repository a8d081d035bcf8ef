"""The devices of one bridged network on this node: a bridge guests plug into, and in it what brings the network's
frames from the trunk: a VLAN device (IEEE 802.1Q), or for an untagged network the trunk itself.

Everything is looked at anew each time: a trunk that was away took its VLAN devices with it, and the bridge with the
guests' ports stayed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pvc_core.errors import Permanent, Retry
from pvc_core.model.network import NetworkFound
from pvc_net_common import links
from pvc_net_common.names import bridge_name
from pvc_net_vlan.offload import checksums_here

MARK = "pvc-vlan"
NEEDS = "bridge and 8021q"
AWAY_S = 2.0
"""So soon the trunk is looked for again."""


def vlan_name(vni: int) -> str:
    return f"vlan{vni}"


class Kernel:
    """`open` gives a netlink socket in the namespace that is meant; each call has one of its own. `mtu` in bytes, None:
    as the trunk has it.
    """

    def __init__(
        self, trunk: str, *, mtu: int | None = None, tx_offload: bool = True, open: Callable[[], Any] = IPRoute
    ) -> None:
        self._trunk, self._mtu, self._tx_offload, self._open = trunk, mtu, tx_offload, open

    def ensure(self, vni: int, id: str, vid: int | None, mtu: int) -> bool:
        """Bridge and way to the trunk as wanted, `mtu` 0 being the trunk's; True if anything was changed.

        Raises Retry while the trunk is away, Permanent for what the trunk cannot be.
        """
        try:
            with self._open() as ip:
                return self._ensure(ip, vni, id, vid, mtu)
        except NetlinkError as error:
            raise links.told(error, f"make network {vni}", NEEDS) from None

    def remove(self, vni: int, id: str) -> bool:
        """False when what is there is another network's. Raises Refused while anything but its own devices is in the
        bridge.
        """
        try:
            with self._open() as ip:
                bridge, vlan = links.find(ip, bridge_name(vni)), links.find(ip, vlan_name(vni))
                if bridge is not None and links.network_id(bridge, MARK) not in ("", id):
                    return False
                if bridge is not None:
                    links.demand_empty(ip, vni, bridge, (vlan_name(vni), self._trunk))
                if vlan is not None:
                    ip.link("del", index=vlan["index"])
                if bridge is not None:  # last: its alias says whose the rest is
                    self._free_trunk(ip, bridge)
                    ip.link("del", index=bridge["index"])
                return True
        except NetlinkError as error:
            raise links.told(error, f"remove network {vni}", NEEDS) from None

    def list(self) -> list[NetworkFound]:
        with self._open() as ip:
            return links.listed(ip, MARK)

    def _ensure(self, ip: Any, vni: int, id: str, vid: int | None, mtu: int) -> bool:
        trunk = links.find(ip, self._trunk)
        if trunk is None:
            self._without_trunk(ip, vni, id, mtu)
        changed = self._ready_trunk(ip, trunk, mtu)
        mtu = mtu or self._mtu or trunk.get("ifla_mtu")
        bridge, made = links.ensure_bridge(ip, vni, mtu=mtu)
        if vid is None:
            changed = self._untagged(ip, bridge, trunk, vni) or changed
            way = trunk
        else:
            changed = self._free_trunk(ip, bridge) or changed
            way, renewed = self._vlan(ip, vni, vid, bridge, trunk, mtu)
            changed = changed or renewed
        own = () if vid is None else (way,)  # the trunk's MTU is not this network's to set
        return links.finish(ip, bridge, *own, mtu=mtu, id=id, mark=MARK) or made or changed

    def _without_trunk(self, ip: Any, vni: int, id: str, mtu: int) -> None:
        """The bridge stands, so that guests of this node have each other. Raises Retry."""
        bridge, _made = links.ensure_bridge(ip, vni, mtu=mtu or self._mtu or 1500)
        links.finish(ip, bridge, mtu=mtu or bridge.get("ifla_mtu"), id=id, mark=MARK)
        raise Retry(
            f"this node has no device {self._trunk}, the trunk of bridged networks",
            again_in_s=AWAY_S,
            help="is the NIC there, and plugins.net_vlan.trunk in pvc.yaml right?",
        )

    def _ready_trunk(self, ip: Any, trunk: Any, mtu: int) -> bool:
        """Up, and as large as pvc.yaml says. Raises Permanent where a network wants more than it carries."""
        carries = trunk.get("ifla_mtu")
        if self._mtu and carries < self._mtu:
            ip.link("set", index=trunk["index"], mtu=self._mtu)
            carries = self._mtu
        if mtu > carries:
            raise Permanent(
                f"trunk {self._trunk} of this node carries {carries} bytes, and the network wants {mtu}",
                help="give plugins.net_vlan.mtu in pvc.yaml, or the network a smaller MTU",
            )
        if trunk["state"] != "up":
            ip.link("set", index=trunk["index"], state="up")
            return True
        return bool(carries != trunk.get("ifla_mtu"))

    def _vlan(self, ip: Any, vni: int, vid: int, bridge: Any, trunk: Any, mtu: int) -> tuple[Any, bool]:
        """(the VLAN device in the bridge, whether it is new there)."""
        vlan, renewed = links.find(ip, vlan_name(vni)), False
        if vlan is not None and (links.info(vlan, "ifla_vlan_id"), vlan.get("ifla_link")) != (vid, trunk["index"]):
            ip.link("del", index=vlan["index"])  # neither can be changed in place
            vlan = None
        if vlan is None:
            ip.link("add", ifname=vlan_name(vni), kind="vlan", link=trunk["index"], vlan_id=vid, mtu=mtu)
            vlan, renewed = links.find(ip, vlan_name(vni)), True
            if not self._tx_offload:
                checksums_here(vlan_name(vni))
        if vlan.get("ifla_master") != bridge["index"]:
            ip.link("set", index=vlan["index"], master=bridge["index"])
            renewed = True
        return vlan, renewed

    def _untagged(self, ip: Any, bridge: Any, trunk: Any, vni: int) -> bool:
        """The trunk is a port of the bridge, which takes from it frames without a tag, or with a priority only.

        The bridge looks at tags itself (vlan_filtering): frames of other VLANs must not get to the guests.
        """
        changed = False
        if (vlan := links.find(ip, vlan_name(vni))) is not None:  # it had a tag before
            ip.link("del", index=vlan["index"])
            changed = True
        if trunk.get("ifla_master") == bridge["index"] and links.info(bridge, "ifla_br_vlan_filtering"):
            return changed
        _demand_spare(ip, trunk, self._trunk, bridge)
        ip.link("set", index=bridge["index"], kind="bridge", br_vlan_filtering=1, br_vlan_default_pvid=1)
        ip.link("set", index=trunk["index"], master=bridge["index"])
        return True

    def _free_trunk(self, ip: Any, bridge: Any) -> bool:
        """The trunk is no port of this bridge."""
        trunk = links.find(ip, self._trunk)
        if trunk is None or trunk.get("ifla_master") != bridge["index"]:
            return False
        ip.link("set", index=trunk["index"], master=0)
        ip.link("set", index=bridge["index"], kind="bridge", br_vlan_filtering=0)
        return True


def _demand_spare(ip: Any, trunk: Any, name: str, bridge: Any) -> None:
    """Raises Permanent where the trunk cannot be given to a bridge: then the host would lose what it has there."""
    master = trunk.get("ifla_master")
    if master and master != bridge["index"]:
        other = ip.get_links(master)[0].get("ifla_ifname")
        raise Permanent(
            f"trunk {name} of this node is in {other}, so no untagged network can have it",
            help="a trunk carries one untagged network; give this one a VLAN with option tag=NUMBER",
        )
    if master != bridge["index"] and any(
        address.get_attr("IFA_ADDRESS") for address in ip.get_addr(index=trunk["index"]) if address["scope"] == 0
    ):
        raise Permanent(
            f"trunk {name} of this node has an address of the host's, so no untagged network can have it",
            help="give the host its address on a VLAN, or this network one with option tag=NUMBER",
        )
