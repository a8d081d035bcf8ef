"""Distributed gateways on this node, kept up: addresses, and the guests here made known to the other nodes.

Who has which address is known from reservations and leases (leased.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pvc_core.model.network import Network
from pvc_net_evpn.anycast import Anycast, listening
from pvc_net_evpn.leased import Leased
from pvc_net_evpn.leases import LeaseBook
from pvc_net_evpn.options import wishes


class Spreading:
    """`do`: runs a program that changes this node's settings; raises Retry."""

    def __init__(self, anycast: Anycast, book: LeaseBook, leased: Leased, do: Callable[[Sequence[str]], None]) -> None:
        self._anycast, self._book, self._leased, self._do = anycast, book, leased, do

    def clear(self, network: Network) -> None:
        """Its gateway is central. Raises Retry."""
        if not wishes(network).distributed:
            self._anycast.clear(network)

    def look(self, networks: Sequence[Network], *, acting: bool) -> None:
        """`acting`: this node gives the leases itself. After Leased.look. Raises Retry, StoreUnavailable."""
        spread = [one for one in networks if wishes(one).distributed]
        there = self._anycast.there() if spread else {}
        for network in spread:
            if self._anycast.spread(network, there):
                self._do(["sysctl", "-q", "-e", "-w", *listening(network)])
            if macs := self._anycast.guests(network):
                known = self._known(network, acting)
                self._anycast.introduce(network, {at: mac for at, mac in known.items() if mac in macs})

    def _known(self, network: Network, acting: bool) -> dict[str, str]:
        """Address -> MAC."""
        self._leased.know(network, acting=acting)
        return self._book.lent(network.id) | {one.address: one.mac.lower() for one in network.reservations}
