"""What may be asked of networks: every bad input is one clear error and changes nothing; nodes make what was asked."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest

from pvc_core.clock import SystemClock
from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.contracts.network import NetworkCapabilities
from pvc_core.contracts.targets import Bridge
from pvc_core.errors import Exists, Invalid, NotFound, Permanent, PvcError, Refused, Retry
from pvc_core.model.cluster import Leader
from pvc_core.model.network import NetworkPhase
from pvc_core.model.node import NodeSeen
from pvc_core.reconcile.calls import DirectCalls
from pvc_core.reconcile.network import NetworkReconciler
from pvc_core.services.desk import Desk
from pvc_core.services.network_checks import HostSide
from pvc_core.services.networks import NetworkService, NetworkWords
from pvc_core.testing.network import FakeNetworkDefinitions, FakeNetworkWorld
from pvc_core.testing.store import FakeStoreServer

NODES = ("hv1", "hv2")
LAB = {
    "name": "lab", "mtu": 1400, "ip4": {"network": "10.20.0.0/24", "gateway": "10.20.0.1", "dhcp": True,
    "dhcp_start": "10.20.0.100", "dhcp_end": "10.20.0.199"},
}  # fmt: skip


class Cluster:
    """Two nodes with the fake driver, the service, and steps of the reconcilers when the test says."""

    def __init__(self) -> None:
        server, clock = FakeStoreServer(), SystemClock()
        self.repository = Repository(server.client("node"))
        for node in NODES:
            self.repository.add(layout.NODE_SEEN, node, NodeSeen(name=node))
        self.repository.add(layout.LEADER, layout.ONLY, Leader(node="hv1", term=1, incarnation="1"))
        self.keeper = ViewKeeper(server.client("node"), clock, live=True)
        self.keeper.step()
        bridged = NetworkCapabilities(nic_targets=(Bridge,), vni_max=4094)
        self.networks = {"managed": FakeNetworkDefinitions(), "bridged": FakeNetworkDefinitions(bridged)}
        self.nics: dict[str, str] = {}
        self.desk = Desk(
            keeper=self.keeper, repository=self.repository, clock=clock, compute=None,
            descriptions=SimpleNamespace(of=self._description),
            storage={}, plugins={}, checks=None, ask=None, inline=True,
            waiter=lambda true: self.settle(true), networks=self.networks,
            host_side=HostSide(mtus={"cluster": 1500}, subnets={"cluster": ip_network("10.1.0.0/24")}),
        )  # fmt: skip
        self.service = NetworkService(self.desk)
        self.world = FakeNetworkWorld()
        self.primary = True
        self.reconcilers = {node: NetworkReconciler(self._ground(node)) for node in NODES}

    def settle(self, true: Any) -> bool:
        for _round in range(5):
            self.step()
        return bool(true(self.keeper.view))

    def step(self, *nodes: str) -> None:
        for node in nodes or NODES:
            for key in list(self.reconcilers[node].keys(self.keeper.view)):
                try:
                    self.reconcilers[node].step(key)
                except Retry:
                    continue
            self.keeper.settle(inline=True)

    def _ground(self, node: str) -> Any:
        def commit(*writes: Any) -> None:
            self.repository.commit([write for write in writes if write is not None])
            self.keeper.settle([write.kind.key(write.id) for write in writes if write is not None], inline=True)

        cluster = self

        class Ground:
            networks = {"managed": cluster.world.driver(node), "bridged": cluster.world.driver(node)}
            repository, keeper, inline, calls = cluster.repository, cluster.keeper, True, DirectCalls()

            @property
            def view(self) -> Any:
                return cluster.keeper.view

            def is_primary(self) -> bool:
                return node == "hv1" and cluster.primary

            def lead(self) -> None:
                return None

        ground: Any = Ground()
        ground.node, ground.commit = node, commit
        return ground

    def _description(self, vm: Any) -> Any:
        return SimpleNamespace(nics=[SimpleNamespace(network=vm.definition)])


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    yield Cluster()


def words(**changes: Any) -> NetworkWords:
    merged: dict[str, Any] = {**LAB, **changes}
    if isinstance(changes.get("ip4"), dict):
        merged["ip4"] = {**LAB["ip4"], **changes["ip4"]}
    return NetworkWords(**merged)


def test_a_network_is_made_on_every_node_and_says_where(cluster: Cluster) -> None:
    cluster.service.add(100, "managed", words(), by="me")
    assert cluster.service.show("lab").status == "waiting for hv1, hv2"
    cluster.step("hv1")
    assert cluster.service.show("100").status == "waiting for hv2"
    cluster.step()
    assert cluster.service.show("100").status == "usable on all nodes"
    assert {node: list(there) for node, there in cluster.world.networks.items()} == {"hv1": [100], "hv2": [100]}


def test_a_node_that_cannot_says_why(cluster: Cluster) -> None:
    cluster.service.add(100, "managed", words(), by="me")
    cluster.world.fault = Permanent("vxlan is missing in this kernel")
    cluster.step("hv2")
    assert cluster.service.show("100").status == "hv2: vxlan is missing in this kernel; waiting for hv1"
    cluster.world.fault = None
    cluster.step()
    assert cluster.service.show("100").status == "usable on all nodes"


WRONG: list[tuple[dict[str, Any], str, type[PvcError], str]] = [
    ({"name": "other"}, "overlaps 10.20.0.0/24 of network 99", Refused, ""),
    ({"name": "a b"}, "cannot be the name", Invalid, "description"),
    ({"name": "7"}, "cannot be the description", Invalid, "description"),
    ({"name": "cluster"}, "cannot be the description", Invalid, "description"),
    ({"name": "first"}, "has the description 'first' already", Exists, ""),
    ({"ip4": {"network": "10.1.0.0/16"}}, "the gateway 10.20.0.1", Invalid, "ip4_gateway"),
    ({"ip4": {"network": "10.1.0.128/25", "gateway": "", "dhcp": None, "dhcp_start": "", "dhcp_end": ""}},
     "of the hosts' cluster network", Refused, ""),
    ({"ip4": {"network": "10.20.0.1/24"}}, "is no network", Invalid, "ip4_network"),
    ({"ip4": {"network": "999.999.999.999/24"}}, "is no network", Invalid, "ip4_network"),
    ({"ip4": {"network": "fd00::/64"}}, "cannot be the IPv4 network", Invalid, "ip4_network"),
    ({"ip4": {"network": "224.0.0.0/24"}}, "cannot be the IPv4 network", Invalid, "ip4_network"),
    ({"ip4": {"network": "10.21.0.0"}}, "cannot be the IPv4 network", Invalid, "ip4_network"),
    ({"ip4": {"network": ""}}, "is in no network", Invalid, "ip4_network"),
    ({"ip4": {"gateway": "999.999.999.999"}}, "is no address", Invalid, "ip4_gateway"),
    ({"ip4": {"gateway": "10.9.0.1"}}, "is no address that a machine in", Invalid, "ip4_gateway"),
    ({"ip4": {"gateway": "10.20.0.0"}}, "is no address that a machine in", Invalid, "ip4_gateway"),
    ({"ip4": {"gateway": "10.20.0.255"}}, "is no address that a machine in", Invalid, "ip4_gateway"),
    ({"ip4": {"gateway": "10.20.0.100"}}, "is among the DHCP addresses", Invalid, "ip4_gateway"),
    ({"ip4": {"gateway": "10.20.0.150"}}, "is among the DHCP addresses", Invalid, "ip4_gateway"),
    ({"ip4": {"dhcp_start": "10.20.1.1"}}, "the first DHCP address 10.20.1.1", Invalid, "dhcp4_start"),
    ({"ip4": {"dhcp_end": "10.20.0.50"}}, "are none", Invalid, "dhcp4_end"),
    ({"ip4": {"dhcp_end": ""}}, "the first and the last", Invalid, "dhcp4_end"),
    ({"ip6": {"gateway": "fd20::1"}}, "is in no network", Invalid, "ip6_network"),
    ({"ip6": {"network": "fd20::/64", "gateway": "fd21::1"}}, "is no address that a", Invalid, "ip6_gateway"),
    ({"ip6": {"network": "fd20::/128"}}, "cannot be the IPv6 network", Invalid, "ip6_network"),
    ({"ip6": {"network": "fd20::/127"}}, "cannot be the IPv6 network", Invalid, "ip6_network"),
    ({"ip6": {"network": "fd20::%eth0/64"}}, "", Invalid, "ip6_network"),
    ({"ip6": {"network": "fd20::/64", "gateway": "fd20::1%eth0"}}, "is no address", Invalid, "ip6_gateway"),
    ({"mtu": 1451}, "an MTU of 1451 does not fit", Invalid, "mtu"),
    ({"mtu": 100}, "an MTU of 100 does not fit", Invalid, "mtu"),
    ({"mtu": 1000, "ip6": {"network": "fd20::/64"}}, "an MTU of 1000 does not fit", Invalid, "mtu"),
    ({"name_servers": ["here"]}, "is no address of a name server", Invalid, "name_servers"),
    ({"domain": "-x.example"}, "is no domain name", Invalid, "domain"),
    ({"domain": "a..b"}, "is no domain name", Invalid, "domain"),
    ({"options": {"speed": "9"}}, "speed: Unknown field", Invalid, "option"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "said", "kind", "field"), WRONG, ids=[f"{row[0]}"[:60] for row in WRONG])
def test_bad_input_is_one_clear_error_and_changes_nothing(
    cluster: Cluster, changes: dict[str, Any], said: str, kind: type[PvcError], field: str
) -> None:
    other = "10.20.0.0/24" if "overlaps 10.20" in said else "10.99.0.0/24"
    cluster.service.add(99, "managed", NetworkWords(name="first", ip4={"network": other}), by="me")
    with pytest.raises(kind) as error:
        cluster.service.add(100, "managed", words(**changes), by="me")
    assert said in error.value.message and error.value.help
    if field:
        assert isinstance(error.value, Invalid) and list(error.value.fields) == [field]
    assert list(cluster.keeper.view.networks) == ["99"]
    if "name" not in changes:  # the same as a change of a network that is there
        cluster.service.add(100, "managed", NetworkWords(name="second"), by="me")
        before = cluster.keeper.view.networks["100"]
        with pytest.raises(kind):
            cluster.service.modify("100", words(**changes), by="me")
        assert cluster.keeper.view.networks["100"] == before


def test_numbers_and_types(cluster: Cluster) -> None:
    cluster.service.add(100, "managed", words(), by="me")
    with pytest.raises(Exists, match="vni 100 is used by network 'lab'"):
        cluster.service.add(100, "managed", words(name="x", ip4={"network": "10.30.0.0/24"}), by="me")
    with pytest.raises(Invalid, match="no plugin makes networks of type 'ovs'"):
        cluster.service.add(101, "ovs", NetworkWords(name="x"), by="me")
    with pytest.raises(Invalid, match="4095 cannot be the number of a bridged network"):
        cluster.service.add(4095, "bridged", NetworkWords(name="x"), by="me")
    with pytest.raises(Refused, match="lacks the capability gateway"):
        cluster.service.add(20, "bridged", words(name="x", ip4={"network": "10.30.0.0/24", "gateway": "10.30.0.1",
                            "dhcp_start": "10.30.0.5", "dhcp_end": "10.30.0.9"}), by="me")  # fmt: skip
    assert list(cluster.keeper.view.networks) == ["100"]
    with pytest.raises(NotFound):
        cluster.service.show("101")


def test_what_is_left_out_has_a_meaning(cluster: Cluster) -> None:
    ip6 = {"network": "fd20:1::/64"}
    made = cluster.service.add(100, "managed", NetworkWords(name="My_net", ip6=ip6), by="me")
    assert (made.mtu, made.network.mtu, made.network.domain) == (1450, 0, "my-net.local")
    assert made.network.ip6.gateway == "fd20:1::1"


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("x" * 100, f"{'x' * 63}.local"),
        (f"{'x' * 62}_y", f"{'x' * 62}.local"),
        ("a_.b-.C", "a.b.c.local"),
    ],
)
def test_a_name_that_is_no_host_name_still_gives_a_domain(cluster: Cluster, name: str, domain: str) -> None:
    made = cluster.service.add(100, "managed", NetworkWords(name=name, ip4={"network": "10.20.0.0/24"}), by="me")
    assert (made.network.name, made.network.domain) == (name, domain)


def test_addresses_are_stored_in_one_form(cluster: Cluster) -> None:
    """dnsmasq knows no 10.20.0.0/255.255.255.0."""
    ip4 = {"network": "10.20.0.0/255.255.255.0", "gateway": "10.20.0.1"}
    ip6 = {"network": "FD20:0::/64", "gateway": "FD20::0001"}
    made = cluster.service.add(100, "managed", NetworkWords(name="lab", ip4=ip4, ip6=ip6), by="me").network
    assert (made.ip4.network, made.ip6.network, made.ip6.gateway) == ("10.20.0.0/24", "fd20::/64", "fd20::1")


def test_a_driver_may_have_no_room_for_two(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def check_beside(network: Any, other: Any) -> None:
        raise Refused(f"not beside {other.ref}", help="choose another")

    monkeypatch.setattr(cluster.desk.networks["bridged"], "check_beside", check_beside, raising=False)
    cluster.service.add(99, "managed", NetworkWords(name="first"), by="me")
    cluster.service.add(100, "bridged", NetworkWords(name="second"), by="me")
    with pytest.raises(Refused, match="not beside 100"):
        cluster.service.add(101, "bridged", NetworkWords(name="third"), by="me")
    cluster.service.modify("100", NetworkWords(mtu=1400), by="me")  # itself is no other


def test_a_change_leaves_the_rest_and_taking_dhcp_away_takes_its_addresses(cluster: Cluster) -> None:
    cluster.service.add(100, "managed", words(), by="me")
    cluster.step()
    changed = cluster.service.modify("lab", NetworkWords(mtu=1300, ip4={"dhcp": False}), by="me").network
    assert (changed.mtu, changed.ip4.gateway, changed.ip4.dhcp_start, changed.name) == (1300, "10.20.0.1", "", "lab")
    cluster.step()
    assert cluster.world.networks["hv2"][100].mtu == 1300


def test_a_network_with_a_guest_on_it_is_not_removed(cluster: Cluster) -> None:
    from pvc_core.model.vm import VmWanted

    cluster.service.add(100, "managed", words(), by="me")
    vm = VmWanted(uuid="u1", name="web", definition="100")
    kept = cluster.repository.add(layout.VM_WANTED, "u1", vm)
    cluster.keeper.settle([layout.VM_WANTED.key("u1")], inline=True)
    with pytest.raises(Refused, match="is used by VM web"):
        cluster.service.remove("lab", by="me")
    assert cluster.keeper.view.networks["100"].value.phase is NetworkPhase.READY
    cluster.repository.drop(layout.VM_WANTED, "u1", if_version=kept.version)
    cluster.keeper.settle([layout.VM_WANTED.key("u1")], inline=True)
    cluster.step()
    assert cluster.service.remove("lab", by="me") == "Network 100 (lab) is removed."
    assert cluster.world.networks == {"hv1": {}, "hv2": {}}
    assert cluster.reconcilers["hv1"].concerned(layout.NETWORKS.key("100")) == "100"
    cluster.reconcilers["hv1"].step("100")  # woken by the record's end
    cluster.keeper.settle(inline=True)
    assert not cluster.keeper.view.network_seen["hv1"].value.gone


def test_the_record_stays_until_every_node_has_taken_it_down(cluster: Cluster) -> None:
    cluster.service.add(100, "managed", words(), by="me")
    cluster.step()
    cluster.world.fault = Retry("the kernel is busy")
    assert cluster.service.remove("100", by="me") == "Network 100 (lab) is being removed; waiting for hv1, hv2."
    cluster.world.fault = None
    cluster.step("hv1")
    assert cluster.service.show("100").status == "being removed; waiting for hv2"
    for call in (
        lambda: cluster.service.add(100, "managed", words(), by="me"),
        lambda: cluster.service.modify("100", words(), by="me"),
    ):
        with pytest.raises(Refused, match="being removed; waiting for hv2"):
            call()
    cluster.primary = False
    cluster.step()
    assert "100" in cluster.keeper.view.networks  # only the primary lets go of it
    cluster.primary = True
    cluster.step()
    assert not cluster.keeper.view.networks
    cluster.service.add(100, "managed", words(), by="me")
    cluster.step()
    assert cluster.service.show("100").status == "usable on all nodes"
