"""The reconciler of the floating addresses, on a real bridge; who is primary is the test's word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any, cast

import pytest

from pvc_core.config.sections import HostNetwork
from pvc_core.hostnet.floating import Floating
from pvc_core.hostnet.held import read_held
from pvc_core.hostnet.network import ensure_network
from pvc_core.reconcile.hostnet import HostNetReconciler
from pvc_core.reconcile.outcome import Outcome
from pvc_core.reconcile.primary import PrimaryReconciler
from pvc_core.testing.clock import FakeClock
from tests.hostnet.conftest import Host, Wire

IP = "10.0.0.250"


@dataclass
class Lease:
    led: bool = False


@dataclass
class Ground:
    """As much of reconcile.ground.Ground as it uses."""

    node: str = "hv1"
    primary: bool = False
    leadership: Lease | None = field(default_factory=Lease)
    clock: FakeClock = field(default_factory=FakeClock)

    def is_primary(self) -> bool:
        return self.primary


class Node:
    def __init__(self, host: Host, run: Path) -> None:
        self.host, self.run = host, run
        self.begin()

    def begin(self) -> None:
        """A new life of the daemon."""
        self.ground = Ground()
        self.floating = Floating({"upstream": ip_address(IP)}, self.run)
        self.reconciler = PrimaryReconciler(cast(Any, self.ground), self.floating)

    def lead(self, until_s: float = 1004.0) -> None:
        self.floating.extend(until_s)
        self.ground.primary, self.ground.leadership = True, Lease(led=True)

    def step(self) -> Outcome:
        return self.host.run(lambda: self.reconciler.step("hv1"))

    def holds(self) -> bool:
        return f"{IP}/32" in self.host.addresses("brupstream")


@pytest.fixture
def node(wire: Wire, tmp_path: Path) -> Node:
    host = wire.host("hv1")
    network = HostNetwork(device="eth0", address=ip_interface("10.0.0.11/24"))
    host.run(lambda: ensure_network("upstream", network))
    return Node(host, tmp_path)


def test_a_primary_has_them_and_says_so(node: Node) -> None:
    node.lead()
    assert node.step().sentence == "node hv1 is primary: holds 10.0.0.250"
    assert node.holds()
    assert read_held(node.run).until_boottime_s == 1004.0


def test_who_is_not_primary_has_none(node: Node) -> None:
    assert node.step().sentence == ""
    assert not node.holds()


def test_who_ceases_to_be_primary_gives_them_back_at_once(node: Node) -> None:
    node.lead()
    node.step()
    node.ground.primary = False
    node.step()
    assert not node.holds()


def test_a_restarted_daemon_leaves_them_until_the_old_lease_ends(node: Node) -> None:
    node.lead()
    node.step()
    node.begin()
    assert node.step().again_in_s == pytest.approx(4.0)
    assert node.holds()
    node.ground.clock.move(4.0)
    node.step()
    assert not node.holds()


def test_a_lease_that_ends_while_the_neighbours_are_asked_gives_nothing(node: Node) -> None:
    node.lead()
    answers = iter((True, False, False))
    node.ground.is_primary = lambda: next(answers)
    node.step()
    assert not node.holds()


def test_the_only_coordinator_holds_them_without_an_end(node: Node) -> None:
    node.ground.primary, node.ground.leadership = True, None
    node.step()
    assert node.holds()
    assert read_held(node.run).until_boottime_s is None
    node.begin()
    node.ground.leadership = None
    node.step()
    assert node.holds()  # its pvcnoded was restarted and does not see the store yet


def test_a_taken_address_is_a_fault_in_the_nodes_health(node: Node, wire: Wire) -> None:
    other = wire.host("other")
    other.ip(f"addr add {IP}/24 dev eth0")
    other.ip("link set eth0 up")
    node.lead()
    assert f"{IP} is used by the machine" in node.step().sentence
    assert [item.delta for item in node.reconciler.health()] == [25]
    other.ip(f"addr del {IP}/24 dev eth0")
    node.step()
    assert node.reconciler.health() == []


class TestHostNetReconciler:
    @staticmethod
    def step(host: Host, networks: dict[str, HostNetwork]) -> Callable[[], tuple[Outcome, Any]]:
        reconciler = HostNetReconciler(networks)
        return lambda: (host.run(lambda: reconciler.step("upstream")), reconciler.health())

    def test_it_says_what_it_changed_once(self, wire: Wire) -> None:
        network = HostNetwork(device="eth0", address=ip_interface("10.0.0.11/24"))
        step = self.step(wire.host("hv1"), {"upstream": network})
        assert step()[0].sentence.startswith("brupstream over eth0 with 10.0.0.11/24: bridge brupstream is made")
        assert step()[0].sentence == "brupstream over eth0 with 10.0.0.11/24"

    def test_a_fault_is_in_the_nodes_health_until_it_is_mended(self, wire: Wire) -> None:
        host = wire.host("hv1")
        step = self.step(host, {"upstream": HostNetwork(device="bond0")})
        outcome, health = step()
        assert "there is no device bond0" in outcome.sentence
        assert [item.message for item in health] == [outcome.sentence]
        host.ip("link set eth0 name bond0")
        assert step()[1] == []
