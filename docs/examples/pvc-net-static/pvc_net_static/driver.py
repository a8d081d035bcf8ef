"""The driver half: one bridge and one VXLAN device for each network, and the list of the nodes that packets go to.

What stands in the kernel is looked at and only what differs is changed: a restart of the daemon disturbs nobody. Where
net_evpn is used, too, its FRR sees these devices: pvc_net_common/floods.py tells why that does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_interface
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pvc_core.contracts import PluginContext
from pvc_core.errors import NotFound, Permanent, Retry
from pvc_core.model.network import Network, NetworkFound
from pvc_net_common import links
from pvc_net_common.filters import Filters
from pvc_net_common.floods import Floods
from pvc_net_common.guarded import GuardedNetworks
from pvc_net_common.names import bridge_name
from pvc_net_static import HEADERS_BYTES

MARK, NEEDS = "pvc-static", "bridge and vxlan"
NODES = "nodes"


class StaticNetworks(GuardedNetworks):
    def __init__(self, context: PluginContext, filters: Filters, open: Callable[[], Any] = IPRoute) -> None:
        super().__init__(filters, open)
        address = context.node.host_networks.get("cluster", "")
        if not address or ip_interface(address).version != 4:
            raise Permanent(
                "net_static needs an IPv4 address of this node on the cluster network",
                help="give host_networks.cluster.address in pvc.yaml",
            )
        self._context, self._local = context, str(ip_interface(address).ip)
        self._floods = Floods()

    def ensure_devices(self, network: Network, *, deadline_s: float) -> bool:
        self._publish()
        try:
            with self._open() as ip:
                return self._ensure(ip, network)
        except NetlinkError as error:
            raise links.told(error, f"make network {network.ref}", NEEDS) from None

    def remove_devices(self, network: Network, *, deadline_s: float) -> bool:
        vni = network.vni
        try:
            with self._open() as ip:
                bridge, vxlan = links.find(ip, bridge_name(vni)), links.find(ip, f"vxlan{vni}")
                if bridge is not None and links.network_id(bridge, MARK) not in ("", network.id):
                    return False
                if bridge is not None:
                    links.demand_empty(ip, vni, bridge, (f"vxlan{vni}",))
                for link in (vxlan, bridge):  # the bridge last: its alias says whose the rest is
                    if link is not None:
                        ip.link("del", index=link["index"])
                return True
        except NetlinkError as error:
            raise links.told(error, f"remove network {network.ref}", NEEDS) from None

    def list_networks(self, *, deadline_s: float) -> list[NetworkFound]:
        with self._open() as ip:
            return links.listed(ip, MARK)

    def _ensure(self, ip: Any, network: Network) -> bool:
        mtu = network.mtu or int(self._underlay(ip).get("ifla_mtu")) - HEADERS_BYTES
        bridge, made = links.ensure_bridge(ip, network.vni, mtu=mtu)
        vxlan = links.find(ip, f"vxlan{network.vni}")
        if vxlan is None:
            ip.link(
                "add", ifname=f"vxlan{network.vni}", kind="vxlan", vxlan_id=network.vni, vxlan_local=self._local,
                vxlan_port=self._context.config["port"], vxlan_learning=True, mtu=mtu,
            )  # fmt: skip
            vxlan, made = links.find(ip, f"vxlan{network.vni}"), True
        if vxlan.get("ifla_master") != bridge["index"]:
            ip.link("set", index=vxlan["index"], master=bridge["index"])
        changed = self._floods.ensure(ip, [f"vxlan{network.vni}"], self._peers(), self._underlay(ip)["index"])
        return links.finish(ip, bridge, vxlan, mtu=mtu, id=network.id, mark=MARK) or changed or made

    def _publish(self) -> None:
        key, value = f"{NODES}/{self._context.node.name}", self._local.encode()
        try:
            if self._context.state.get(key)[0] == value:
                return
        except NotFound:
            pass
        self._context.state.put(key, value, if_version=None)

    def _peers(self) -> list[str]:
        found, gone = [], self._context.gone_nodes()
        for node in self._context.state.children(NODES):
            if node in gone:
                continue  # was removed from the cluster
            try:
                address = self._context.state.get(f"{NODES}/{node}")[0].decode()
            except NotFound:
                continue  # gone meanwhile
            if address != self._local:
                found.append(address)
        return found

    def _underlay(self, ip: Any) -> Any:
        """The device with this node's address on the cluster network."""
        for message in ip.get_addr():
            if message.get_attr("IFA_ADDRESS") == self._local:
                return ip.get_links(message["index"])[0]
        raise Retry(f"no device of this node has the address {self._local} yet", again_in_s=2.0)
