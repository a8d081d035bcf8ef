"""The fake network driver passes the suite that real ones pass."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pvc_core.contracts.network import NetworkDriver
from pvc_core.contracts.targets import Bridge, NicTarget
from pvc_core.model.network import Network
from pvc_core.testing.contract_network import NetworkContract
from pvc_core.testing.network import FakeNetworkDefinitions, FakeNetworkWorld
from pvc_core.testing.network_rig import NetworkRig


@dataclass(frozen=True)
class Guest:
    vni: int
    address: str


class FakeRig(NetworkRig):
    def __init__(self) -> None:
        self.definitions, self.world = FakeNetworkDefinitions(), FakeNetworkWorld()
        self.guests: list[Guest] = []

    def driver(self, node: str) -> NetworkDriver:
        return self.world.driver(node)

    def guest(self, node: str, target: NicTarget, mac: str, address: str) -> object:
        self.guests.append(Guest(self._here(node, target).vni, address.partition("/")[0]))
        return self.guests[-1]

    def reaches(self, guest: object, address: str, *, within_s: float) -> bool:
        assert isinstance(guest, Guest)
        return any((other.vni, other.address) == (guest.vni, address) for other in self.guests)

    def unplugged(self, guest: object) -> None:
        assert isinstance(guest, Guest)
        self.guests.remove(guest)

    def mtu(self, node: str, target: NicTarget) -> int:
        return self._here(node, target).mtu or self.definitions.mtu_max({})

    def _here(self, node: str, target: NicTarget) -> Network:
        assert isinstance(target, Bridge)
        return self.world.networks[node][int(target.bridge.removeprefix("vmbr"))]


class TestFake(NetworkContract):
    @pytest.fixture
    def rig(self) -> NetworkRig:
        return FakeRig()
