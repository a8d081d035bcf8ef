"""What may be said of a managed network: its options, what a gateway needs, and what the firewall makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.errors import Invalid
from pvc_core.model.network import Network, Subnet
from pvc_core.services.network_checks import HostSide, check_network
from pvc_net_evpn.definitions import EvpnDefinitions
from pvc_net_evpn.firewall import CLEARED, ruleset
from pvc_net_evpn.shortcuts import shortcuts

LAB = Network(
    vni=100, id="n1", name="lab", nettype="managed", domain="lab.local",
    ip4=Subnet(network="10.20.0.0/24", gateway="10.20.0.1"),
)  # fmt: skip


def check(network: Network) -> None:
    check_network(network, EvpnDefinitions(), [], HostSide(mtus={"cluster": 1500}))


@pytest.mark.parametrize(
    "options",
    [
        {"nat": "perhaps"},
        {"route_to": "100"},
        {"route_to": "lab"},
        {"lease_s": "5"},
        {"ntp_servers": "10.20.0.999"},
        {"dhcp_options": "option:nonsense,1"},
        {"dhcp_options": "3,10.20.0.9"},
        {"boot_file": "a b"},
        {"gateway": "anywhere"},
        {"colour": "red"},
    ],
)
def test_bad_options_are_one_clear_error(options: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        check(replace(LAB, options=options))


def test_good_options_are_taken() -> None:
    options = {"nat": "yes", "route_to": "101, 102", "lease_s": "3600", "dhcp_options": "option:tftp-server,a;150,b"}
    check(replace(LAB, options=options))


@pytest.mark.parametrize("size", [32, 48, 63, 64, 80, 126])
def test_ip6_networks_are_as_large_as_guests_can_be_given_addresses_of(size: int) -> None:
    network = Network(
        vni=100, id="n1", name="lab", nettype="managed", ip6=Subnet(network=f"fd20::/{size}", gateway="fd20::1")
    )
    if size >= 64:
        EvpnDefinitions().check(network)
        return
    with pytest.raises(Invalid, match=f"cannot be given addresses of fd20::/{size}") as refused:
        EvpnDefinitions().check(network)
    assert "ip6_network" in refused.value.fields and "/64" in refused.value.help


def test_dhcp_and_nat_need_a_gateway() -> None:
    bare = Subnet(network="10.20.0.0/24", dhcp=True, dhcp_start="10.20.0.9", dhcp_end="10.20.0.19")
    with pytest.raises(Invalid, match="needs a gateway"):
        check(replace(LAB, ip4=bare))
    with pytest.raises(Invalid, match="cannot have nat without"):
        check(replace(LAB, ip4=Subnet(network="10.20.0.0/24"), options={"nat": "yes"}))


def test_a_distributed_gateway_needs_a_gateway() -> None:
    with pytest.raises(Invalid, match="cannot have a distributed gateway without a gateway"):
        check(replace(LAB, ip4=Subnet(network="10.20.0.0/24"), options={"gateway": "distributed"}))
    check(replace(LAB, options={"gateway": "distributed", "nat": "yes"}))


def test_nodes_route_by_themselves_between_networks_that_both_allow_it() -> None:
    one = replace(LAB, options={"gateway": "distributed", "route_to": "101", "nat": "yes"})
    other = replace(
        LAB, vni=101, id="n2", name="two", ip4=Subnet(network="10.21.0.0/24", gateway="10.21.0.1"),
        options={"gateway": "distributed"},
    )  # fmt: skip
    by_primary = ruleset([one, other])
    assert '"vmgc100" . "vmbr101"' in by_primary and '"vmbr100" . "vmbr101"' not in by_primary
    assert '"vmgc100" . "brupstream"' in by_primary and '"vmbr100" . "brupstream"' not in by_primary
    assert "ip daddr { 10.20.0.0/24 } accept" in shortcuts([one, other])
    both = [one, replace(other, options=other.options | {"route_to": "100"})]
    assert '"vmbr100" . "vmbr101"' in ruleset(both) and '"vmbr101" . "vmbr100"' in ruleset(both)
    assert "ip daddr { 10.20.0.0/24, 10.21.0.0/24 } accept" in shortcuts(both)
    assert shortcuts([LAB]) == "table bridge pvc_evpn\ndelete table bridge pvc_evpn\n"


def test_the_firewall_lets_through_what_was_asked_for_only() -> None:
    other = replace(LAB, vni=101, name="two", ip4=Subnet(network="10.21.0.0/24", gateway="10.21.0.1"))
    text = ruleset([replace(LAB, options={"route_to": "101", "upstream": "no"}), other])
    assert '"vmgw100" . "vmgw101"' in text and '"vmgw101" . "vmgw100"' not in text
    assert '"vmgw100" . "brupstream"' not in text and '"vmgw101" . "brupstream"' in text
    assert "snat" not in text and ruleset([]) == CLEARED
    assert "ip saddr 10.20.0.0/24" in ruleset([replace(LAB, options={"nat": "yes"})], nat_address="10.0.0.9")
    assert "snat ip to 10.0.0.9" in ruleset([replace(LAB, options={"nat": "yes"})], nat_address="10.0.0.9")
