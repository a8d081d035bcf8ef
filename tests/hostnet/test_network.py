"""Host networks on real kernels: made, kept, changed in place, adopted; and the words for what cannot be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest

from pvc_core.config.sections import HostNetwork
from pvc_core.errors import Permanent
from pvc_core.hostnet.links import Links
from pvc_core.hostnet.network import ensure_all, ensure_network
from tests.hostnet.conftest import Host, Wire


def wanted(address: str | None = "10.0.0.11/24", **more: Any) -> HostNetwork:
    interface = ip_interface(address) if address else None
    return HostNetwork(device=more.pop("device", "eth0"), address=interface, **more)


def ensure(host: Host, network: HostNetwork, name: str = "upstream") -> list[str]:
    return host.run(lambda: ensure_network(name, network))


def default_routes(host: Host) -> list[tuple[str, str]]:
    return [(route["gateway"], route["dev"]) for route in host.ip("route show default")]


def test_a_bare_nic_becomes_a_network_in_one_pass(wire: Wire) -> None:
    host, other = wire.host("hv1"), wire.host("hv2")
    gateway = ip_address("10.0.0.1")
    changes = ensure(host, wanted(gateway=gateway))
    assert host.addresses("brupstream") == ["10.0.0.11/24"]
    assert host.link("eth0")["master"] == "brupstream"
    assert host.link("brupstream")["address"] == host.link("eth0")["address"]
    assert default_routes(host) == [("10.0.0.1", "brupstream")]
    assert len(changes) == 6
    ensure(other, wanted("10.0.0.12/24"))
    assert host.reaches("10.0.0.12")


def test_the_second_pass_changes_nothing(wire: Wire) -> None:
    host = wire.host("hv1")
    network = wanted(gateway=ip_address("10.0.0.1"), mtu=1400)
    ensure(host, network)
    before = host.sh("ip -o addr show scope global; ip route; ip -6 route")
    assert ensure(host, network) == []
    assert host.sh("ip -o addr show scope global; ip route; ip -6 route") == before


def test_what_was_made_before_is_adopted(wire: Wire) -> None:
    host = wire.host("hv1")
    for line in (
        "link add brupstream type bridge forward_delay 0", "link set eth0 master brupstream up",
        "addr add 10.0.0.11/24 dev brupstream", "link set brupstream up", "route add default via 10.0.0.1",
    ):  # fmt: skip
        host.ip(line)
    assert ensure(host, wanted(gateway=ip_address("10.0.0.1"))) == []


def test_an_address_on_the_device_itself_moves_with_its_route(wire: Wire) -> None:
    host = wire.host("hv1")
    for line in ("addr add 10.0.0.11/24 dev eth0", "link set eth0 up", "route add default via 10.0.0.1"):
        host.ip(line)
    ensure(host, wanted(gateway=ip_address("10.0.0.1")))
    assert host.addresses("eth0") == []
    assert host.addresses("brupstream") == ["10.0.0.11/24"]
    assert default_routes(host) == [("10.0.0.1", "brupstream")]


def test_another_address_replaces_only_what_pvc_gave(wire: Wire) -> None:
    host = wire.host("hv1")
    ensure(host, wanted())
    host.ip("addr add 10.0.0.99/24 dev brupstream")
    ensure(host, wanted("10.0.0.12/24"))
    assert sorted(host.addresses("brupstream")) == ["10.0.0.12/24", "10.0.0.99/24"]
    host.sh("ip route get 10.0.0.1")


def test_another_gateway_replaces_the_route_pvc_set(wire: Wire) -> None:
    host = wire.host("hv1")
    ensure(host, wanted(gateway=ip_address("10.0.0.1")))
    ensure(host, wanted(gateway=ip_address("10.0.0.2")))
    assert default_routes(host) == [("10.0.0.2", "brupstream")]


def test_a_default_route_of_somebody_else_stays_and_is_told(wire: Wire) -> None:
    host = wire.host("hv1")
    ensure(host, wanted())
    host.ip("route add default via 10.0.0.9 dev brupstream")
    with pytest.raises(Permanent, match=r"has a default route to 10\.0\.0\.9 already"):
        ensure(host, wanted(gateway=ip_address("10.0.0.1")))
    assert default_routes(host) == [("10.0.0.9", "brupstream")]


def test_two_passes_at_the_same_moment_set_one_route(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """pvcnoded and `pvcnoded hostnet`, say: the second looked before the first had set it."""
    host = wire.host("hv1")
    network = wanted(gateway=ip_address("10.0.0.1"))
    ensure(host, network)
    looked = Links.default_routes
    too_early = iter([True])
    monkeypatch.setattr(
        Links, "default_routes", lambda self, version: [] if next(too_early, False) else looked(self, version)
    )
    ensure(host, network)
    assert default_routes(host) == [("10.0.0.1", "brupstream")]


@pytest.mark.parametrize("mtu", [1400, 9000])
def test_the_mtu_is_set_on_device_and_bridge_and_changed_in_place(wire: Wire, mtu: int) -> None:
    host = wire.host("hv1", mtu=9000)
    ensure(host, wanted(mtu=1500))
    index = host.link("brupstream")["ifindex"]
    ensure(host, wanted(mtu=mtu))
    assert host.link("eth0")["mtu"] == host.link("brupstream")["mtu"] == mtu
    assert host.link("brupstream")["ifindex"] == index


def test_what_was_taken_away_comes_back(wire: Wire) -> None:
    host = wire.host("hv1")
    network = wanted(gateway=ip_address("10.0.0.1"))
    ensure(host, network)
    host.ip("addr flush dev brupstream scope global")
    host.ip("link set eth0 nomaster")
    host.ip("link set brupstream down")
    ensure(host, network)
    assert host.addresses("brupstream") == ["10.0.0.11/24"]
    assert host.link("eth0")["master"] == "brupstream"
    assert default_routes(host) == [("10.0.0.1", "brupstream")]


def test_a_bridge_that_was_deleted_behind_its_back_is_made_again(wire: Wire) -> None:
    host = wire.host("hv1")
    network = wanted(gateway=ip_address("10.0.0.1"), mtu=1400)
    ensure(host, network)
    host.ip("link del brupstream")
    ensure(host, network)
    assert host.addresses("brupstream") == ["10.0.0.11/24"]
    assert host.link("brupstream")["mtu"] == 1400
    assert default_routes(host) == [("10.0.0.1", "brupstream")]


def test_a_nic_that_was_pulled_and_put_back_is_taken_in_again(wire: Wire) -> None:
    host = wire.host("hv1")
    ensure(host, wanted())
    index = host.link("brupstream")["ifindex"]
    host.ip("link del eth0")
    with pytest.raises(Permanent, match="there is no device eth0"):
        ensure(host, wanted())
    assert host.addresses("brupstream") == ["10.0.0.11/24"], "what was there stays"
    host.ip("link add eth0 type veth peer name other")
    ensure(host, wanted())
    assert host.link("eth0")["master"] == "brupstream"
    assert host.link("brupstream")["ifindex"] == index


def test_one_network_that_cannot_be_made_stops_no_other(wire: Wire) -> None:
    host = wire.host("hv1")
    done = host.run(lambda: ensure_all({"cluster": wanted("10.1.0.11/24", device="eth7"), "upstream": wanted()}))
    assert "there is no device eth7" in str(done["cluster"])
    assert host.addresses("brupstream") == ["10.0.0.11/24"]


def test_a_bridge_with_guests_is_never_taken_down(wire: Wire) -> None:
    """Whatever changes: the kernel drops the routes over a link that goes down, and nobody would give back this one."""
    host = wire.host("hv1", mtu=9000)
    ensure(host, wanted(gateway=ip_address("10.0.0.1")))
    host.ip("link add vnet0 type veth peer name guest0")
    host.ip("link set vnet0 master brupstream up")
    host.ip("route add 10.9.0.0/24 dev brupstream")
    index = host.link("brupstream")["ifindex"]
    ensure(host, wanted("10.0.0.12/24", gateway=ip_address("10.0.0.2"), mtu=1400))
    host.ip("link set eth0 nomaster")
    ensure(host, wanted("10.0.0.12/24", gateway=ip_address("10.0.0.2"), mtu=9000))
    assert host.ip("route show 10.9.0.0/24")[0]["dev"] == "brupstream"
    assert (host.link("brupstream")["ifindex"], host.link("vnet0")["master"]) == (index, "brupstream")


def test_a_bond_of_two_carries_a_network_or_the_reason_is_told(wire: Wire) -> None:
    host = wire.host("hv1")
    try:
        host.ip("link add bond0 type bond mode active-backup")
    except AssertionError:
        with pytest.raises(Permanent, match="there is no device bond0 on this machine"):
            ensure(host, wanted(device="bond0"))
        return  # this kernel has no module `bonding`, so the distribution could not make one either
    host.ip("link add eth1 type veth peer name other1")
    for port in ("eth0", "eth1"):
        host.ip(f"link set {port} down")
        host.ip(f"link set {port} master bond0")
    ensure(host, wanted(device="bond0"))
    assert host.link("bond0")["master"] == "brupstream"
    assert {host.link(port)["master"] for port in ("eth0", "eth1")} == {"bond0"}


def test_a_guests_tap_stays_in_the_bridge(wire: Wire) -> None:
    host = wire.host("hv1")
    ensure(host, wanted())
    host.ip("link add vnet0 type veth peer name guest0")
    host.ip("link set vnet0 master brupstream up")
    ensure(host, wanted("10.0.0.12/24", mtu=1400))
    assert host.link("vnet0")["master"] == "brupstream"


def test_ipv6(wire: Wire) -> None:
    host = wire.host("hv1")
    network = wanted("fd00:1::11/64", gateway=ip_address("fd00:1::1"))
    ensure(host, network)
    assert host.addresses("brupstream", "inet6") == ["fd00:1::11/64"]
    routes = [(route["gateway"], route["dev"]) for route in host.ip("-6 route show default")]
    assert routes == [("fd00:1::1", "brupstream")]
    assert ensure(host, network) == []


def test_a_missing_device_is_named_with_those_there_are(wire: Wire) -> None:
    host = wire.host("hv1")
    with pytest.raises(Permanent, match="there is no device bond0") as caught:
        ensure(host, wanted(device="bond0"))
    assert "host_networks.upstream.device" in caught.value.help
    assert "eth0" in caught.value.help


def test_a_device_of_another_bridge_is_not_stolen(wire: Wire) -> None:
    host = wire.host("hv1")
    ensure(host, wanted())
    with pytest.raises(Permanent, match="eth0 belongs to brupstream already"):
        ensure(host, wanted("10.1.0.11/24"), "cluster")
    assert host.link("eth0")["master"] == "brupstream"


def test_a_bridge_name_that_is_something_else_is_told(wire: Wire) -> None:
    host = wire.host("hv1")
    host.ip("link add brupstream type veth peer name x")
    with pytest.raises(Permanent, match="brupstream is there and is no bridge"):
        ensure(host, wanted())


def test_an_address_that_another_machine_has_is_not_taken(wire: Wire) -> None:
    host, other = wire.host("hv1"), wire.host("hv2")
    ensure(other, wanted())
    mac = other.link("brupstream")["address"]
    with pytest.raises(Permanent, match=rf"the machine {mac} has the address 10\.0\.0\.11 already"):
        ensure(host, wanted())
    assert host.addresses("brupstream") == []


def test_an_mtu_the_device_cannot_carry_is_told(wire: Wire) -> None:
    host = wire.host("hv1")
    host.ip("link add veth9 type veth peer name veth8")
    with pytest.raises(Permanent, match="cannot set the MTU of veth9 to 70000"):
        ensure(host, wanted(device="veth9", mtu=70000))


def test_a_vlan_is_made_where_the_kernel_can_or_the_reason_is_told(wire: Wire) -> None:
    host = wire.host("hv1")
    try:
        host.ip("link add probe link eth0 type vlan id 7")
        can = True
    except AssertionError:
        can = False
    if can:
        ensure(host, wanted(device="eth0.10"))
        assert host.link("eth0.10")["linkinfo"]["info_data"]["id"] == 10
    else:
        with pytest.raises(Permanent, match=r"cannot make VLAN 10 on eth0") as caught:
            ensure(host, wanted(device="eth0.10"))
        assert "this kernel cannot" in caught.value.help


def test_made_by_several_at_once_it_is_made_once(wire: Wire) -> None:
    """As `pvcnoded hostnet` typed while the daemon begins."""
    host = wire.host("hv1")

    def race() -> list[list[str]]:
        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(lambda network: ensure_network("upstream", network), [wanted()] * 4))

    for _round in range(5):
        host.run(race)
        assert host.addresses("brupstream") == ["10.0.0.11/24"] and host.link("eth0")["master"] == "brupstream"
        host.ip("link del brupstream")
