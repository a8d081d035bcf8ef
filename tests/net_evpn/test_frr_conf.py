"""frr.conf from the nodes: who talks to whom, and who reflects."""

from __future__ import annotations

from pvc_net_evpn.frrconf import Peer, frr_conf

HV1, HV2 = Peer("hv1", "10.71.0.11", True), Peer("hv2", "10.71.0.12", True)
HV4, HV5 = Peer("hv4", "10.71.0.14", False), Peer("hv5", "10.71.0.15", False)
ALL = (HV5, HV4, HV2, HV1)


def neighbours(text: str, what: str) -> set[str]:
    lines = [line.split() for line in text.splitlines()]
    return {words[1] for words in lines if words[:1] == ["neighbor"] and what in words}


def test_a_coordinator_talks_to_all_and_reflects() -> None:
    text = frr_conf(HV1, ALL, 65000)
    others = {HV2.address, HV4.address, HV5.address}
    assert neighbours(text, "remote-as") == neighbours(text, "activate") == others
    assert neighbours(text, "route-reflector-client") == others


def test_a_hypervisor_talks_to_coordinators_only() -> None:
    text = frr_conf(HV4, ALL, 65000)
    assert neighbours(text, "remote-as") == {HV1.address, HV2.address}
    assert neighbours(text, "route-reflector-client") == set()


def test_the_order_in_which_nodes_are_known_means_nothing() -> None:
    assert frr_conf(HV1, ALL, 65000) == frr_conf(HV1, ALL[::-1], 65000)


def test_no_node_yet_is_a_configuration_too() -> None:
    assert "advertise-all-vni" in frr_conf(HV1, (), 65000)
