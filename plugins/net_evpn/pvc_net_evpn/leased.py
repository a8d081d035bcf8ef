"""Which addresses are lent to guests of this node, for the filters at their ports, and for distributed gateways.

The node that serves DHCP knows it from its dnsmasq; every other one reads it from the store, for networks that have
guests here only, after something has changed there, and at the pace of the router's looks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

from pvc_core.contracts.plugin import PluginContext
from pvc_core.errors import PvcError, StoreUnavailable
from pvc_core.model.network import Network
from pvc_net_common.names import bridge_name, mac_of
from pvc_net_evpn.leases import LeaseBook
from pvc_net_evpn.options import serves_dhcp


class Leased:
    """`open`: a netlink socket in the node's namespace. Used by the router's thread, but for `expect`, and `lent` of
    the book.
    """

    def __init__(self, context: PluginContext, book: LeaseBook, open: Callable[[], Any]) -> None:
        self._context, self._book, self._open = context, book, open
        self.tell: Callable[[int], None] = lambda vni: None
        """Called with the VNI of a network in which other addresses are lent than before. May raise PvcError."""
        self._news = threading.Event()
        self._news.set()
        self._read: set[str] = set()
        """Ids of networks whose leases are as the store has them."""
        self._here: set[str] = set()
        """Bridges with guests of this node."""
        self._coming: set[str] = set()
        """Bridges that guests were plugged into: their ports may not be there yet."""
        self._told: dict[str, dict[str, str]] = {}
        """Network id -> what `tell` was called for."""

    def begin(self) -> None:
        self._context.state.wake(self._news.set)

    def expect(self, vni: int) -> None:
        """A guest is plugged in here. Returns at once; the router's next look reads what it needs."""
        self._coming.add(bridge_name(vni))
        self._news.set()

    def forget(self, id: str) -> None:
        """The book has forgotten that network."""
        self._read.discard(id)

    def look(self, networks: Sequence[Network], *, acting: bool) -> None:
        """`acting`: this node gives the leases itself, and knows them before the store does. While the store is silent
        the filters stay as they are: nothing else of the node's networks hangs on it.
        """
        if self._news.is_set():
            self._news.clear()
            self._read.clear()
            self._here = self._with_guests() | self._coming
        try:
            for network in networks:
                if serves_dhcp(network) and bridge_name(network.vni) in self._here:
                    self.know(network, acting=acting)
                    self._compare(network)
        except StoreUnavailable:
            self._news.set()
        self._told = {one.id: self._told[one.id] for one in networks if one.id in self._told}

    def know(self, network: Network, *, acting: bool) -> None:
        """The book is as the store has it, or newer. Raises StoreUnavailable."""
        if not acting and network.id not in self._read:
            self._book.load(network.id)
            self._read.add(network.id)

    def _compare(self, network: Network) -> None:
        lent = self._book.lent(network.id)
        if lent == self._told.get(network.id, {}):
            return
        try:
            self.tell(network.vni)
        except PvcError:  # the network's own reconciler meets the same and says so; asked again at the next look
            return
        self._told[network.id] = lent

    def _with_guests(self) -> set[str]:
        """Of one look at all devices: there may be hundreds of networks."""
        with self._open() as ip:
            links = list(ip.get_links())
        return _bridges({link["index"]: link.get("ifla_ifname") for link in links}, links)


def _bridges(names: dict[int, str], links: Collection[Any]) -> set[str]:
    return {names.get(link.get("ifla_master"), "") for link in links if mac_of(link.get("ifla_ifname")) is not None}
