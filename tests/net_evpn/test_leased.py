"""Which leases a node knows of, and when it tells its filters: without devices, by a picture of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pvc_core.clock import SystemClock
from pvc_core.errors import Retry, StoreUnavailable
from pvc_core.model.network import Network, Subnet
from pvc_core.testing.context import FakeContext, FakeState
from pvc_net_evpn import router
from pvc_net_evpn.gateway import Gateways
from pvc_net_evpn.kernel import Kernel
from pvc_net_evpn.leased import Leased
from pvc_net_evpn.leases import LeaseBook

LAB = Subnet(network="10.20.0.0/24", gateway="10.20.0.1", dhcp=True, dhcp_start="10.20.0.5", dhcp_end="10.20.0.9")
HERE, AWAY = (Network(vni=vni, id=f"id{vni}", name=f"n{vni}", nettype="managed", ip4=LAB) for vni in (100, 101))
MAC = "52:54:00:00:00:01"


class Link(dict[str, Any]):
    """As pyroute2 gives it."""


class Devices:
    """A guest's port in the bridge of network 100."""

    def get_links(self) -> list[Link]:
        return [
            Link(index=1, ifla_ifname="vmbr100"), Link(index=2, ifla_ifname="vmbr101"),
            Link(index=3, ifla_ifname="tap525400000001", ifla_master=1), Link(index=4, ifla_ifname="eth0"),
        ]  # fmt: skip


class Store(FakeState):
    silent = False
    asked = 0

    def get(self, key: str) -> tuple[bytes, int]:
        self.asked += 1
        if self.silent:
            raise StoreUnavailable("no answer")
        return super().get(key)


class Node:
    def __init__(self) -> None:
        self.store = Store()
        self.told: list[int] = []
        context = FakeContext(state=self.store)
        self.book = LeaseBook(context.state, SystemClock())
        self.leased = Leased(context, self.book, self._open)
        self.leased.tell = self._tell
        self.leased.begin()
        self.fault: Retry | None = None

    def lend(self, network: Network, address: str) -> None:
        """By the primary's dnsmasq."""
        text = json.dumps([{"address": address, "mac": MAC}]).encode()
        self.store.put(f"leases/{network.id}/0", text, if_version=None)

    def look(self) -> list[int]:
        self.told = []
        self.leased.look([HERE, AWAY], acting=False)
        return self.told

    def _tell(self, vni: int) -> None:
        if self.fault is not None:
            raise self.fault
        self.told.append(vni)

    @contextlib.contextmanager
    def _open(self) -> Iterator[Devices]:
        yield Devices()


def test_leases_are_read_where_guests_are_and_only_after_news() -> None:
    node = Node()
    node.lend(HERE, "10.20.0.5")
    node.lend(AWAY, "10.20.0.6")
    assert node.look() == [100] and node.book.lent(HERE.id) == {"10.20.0.5": MAC} and node.book.lent(AWAY.id) == {}
    before = node.store.asked
    assert node.look() == [] and node.store.asked == before
    node.lend(HERE, "10.20.0.7")
    assert node.look() == [100] and node.book.lent(HERE.id) == {"10.20.0.7": MAC}
    node.leased.expect(AWAY.vni)  # a guest is coming: its port is not there yet
    assert node.look() == [101]


def test_a_silent_store_stops_nothing_and_is_asked_again() -> None:
    node = Node()
    node.lend(HERE, "10.20.0.5")
    node.store.silent = True
    assert node.look() == []
    node.store.silent = False
    assert node.look() == [100]


def test_filters_that_could_not_be_made_are_tried_again() -> None:
    node = Node()
    node.lend(HERE, "10.20.0.5")
    node.fault = Retry("nft is busy")
    assert node.look() == []
    node.fault = None
    assert node.look() == [100]


def test_a_lease_that_could_not_be_ended_now_is_not_ended_some_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asked was told to try again, and the next primary does it; by the time this node is primary, the address may
    be another guest's."""
    monkeypatch.setattr(router, "WAIT_S", 0.05)
    kernel = Kernel()
    one = router.Router(FakeContext(), kernel, Gateways(), local="10.71.0.11", run=tmp_path)
    with pytest.raises(Retry):
        one.release(HERE, "10.20.0.7")
    assert not any(one._releasing.values())
