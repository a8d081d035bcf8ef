"""Distributed gateways on this node, kept up: addresses, and the guests here made known to the other nodes.

Who has which address is known from reservations and leases; leases of another node's dnsmasq are read from the store,
for networks that have guests here only, and at the pace of the router's looks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from pvc_core.contracts.plugin import PluginContext
from pvc_core.model.network import Network
from pvc_net_evpn.anycast import Anycast, listening
from pvc_net_evpn.leases import LeaseBook
from pvc_net_evpn.options import wishes


class Spreading:
    """`do`: runs a program that changes this node's settings; raises Retry."""

    def __init__(
        self, context: PluginContext, anycast: Anycast, book: LeaseBook, do: Callable[[Sequence[str]], None]
    ) -> None:
        self._context, self._anycast, self._book, self._do = context, anycast, book, do
        self._read: set[str] = set()
        """Ids of networks whose leases are as the store has them."""
        self._news = threading.Event()

    def begin(self) -> None:
        self._context.state.wake(self._news.set)

    def clear(self, network: Network) -> None:
        """Its gateway is central. Raises Retry."""
        if not wishes(network).distributed:
            self._anycast.clear(network)

    def look(self, networks: Sequence[Network], *, acting: bool) -> None:
        """`acting`: this node gives the leases itself, and knows them before the store does.

        Raises Retry, StoreUnavailable.
        """
        if self._news.is_set():
            self._news.clear()
            self._read.clear()
        for network in networks:
            if not wishes(network).distributed:
                continue
            if self._anycast.spread(network):
                self._do(["sysctl", "-q", "-e", "-w", *listening(network)])
            if macs := self._anycast.guests(network):
                known = self._known(network, acting)
                self._anycast.introduce(network, {at: mac for at, mac in known.items() if mac in macs})

    def _known(self, network: Network, acting: bool) -> dict[str, str]:
        """Address -> MAC."""
        if not acting and network.id not in self._read:
            self._book.load(network.id)
            self._read.add(network.id)
        known = {one.address: one.mac for one in self._book.of(network.id) if one.mac}
        return known | {one.address: one.mac.lower() for one in network.reservations}
