"""frr.conf from the nodes: who talks to whom, who reflects, and what upstream's routers are told."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from marshmallow import ValidationError

from pvc_core.contracts.plugin import Completed
from pvc_core.errors import Retry
from pvc_core.model.network import Network, Subnet
from pvc_core.testing.context import FakeContext, FakeState
from pvc_net_evpn.fabric import Fabric
from pvc_net_evpn.frrconf import Outside, Peer, frr_conf
from pvc_net_evpn.kernel import Kernel
from pvc_net_evpn.plugin import Config
from pvc_net_evpn.upstream import Upstream, routed

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


ROUTER = Upstream(address="10.0.0.1", asn=64512, announce=("10.50.0.0/16",), accept=("0.0.0.0/0",), accept_max=5)
SIX = Upstream(address="fd00::1", asn=64512)
NETWORKS = {100: ["10.50.0.0/24", "fd50::/64"], 101: ["10.60.0.0/24"]}


def outside(*, hops: tuple[str, ...] = ("10.0.0.250",)) -> Outside:
    return Outside(peers=[ROUTER, SIX], networks=NETWORKS, next_hops=hops)


def test_hypervisors_tell_upstream_nothing() -> None:
    assert frr_conf(HV4, ALL, 65000, outside()) == frr_conf(HV4, ALL, 65000)


def test_a_peer_is_told_what_its_filter_lets_through_with_the_floating_address() -> None:
    text = frr_conf(HV1, ALL, 65000, outside())
    assert "ip prefix-list pvc-out-10.0.0.1 seq 100 permit 10.50.0.0/24\n" in text
    assert "pvc-out-10.0.0.1 seq 101" not in text
    assert " set ip next-hop 10.0.0.250\n" in text
    assert "ip prefix-list pvc-in-10.0.0.1 seq 1 permit 0.0.0.0/0\n" in text
    assert "neighbor 10.0.0.1 maximum-prefix 5 restart 5" in text


def test_without_a_floating_address_only_who_has_the_gateway_tells() -> None:
    """Of this family: connected routes are there only where the gateways are."""
    text = frr_conf(HV1, ALL, 65000, outside())
    assert "network fd50::/64" not in text and "redistribute connected route-map pvc-managed-6" in text
    assert "ipv6 prefix-list pvc-managed-6 seq 100 permit fd50::/64\n" in text


def test_no_list_is_empty_for_an_empty_one_lets_everything_pass() -> None:
    text = frr_conf(HV1, ALL, 65000, Outside(peers=[ROUTER, SIX]))
    maps = {line.split()[1] for line in text.splitlines() if line.startswith("route-map ")}
    assert maps == {line.split()[2] for line in text.splitlines() if "deny any" in line} and len(maps) == 6


def test_a_network_more_moves_no_other_line() -> None:
    """Or frr-reload would take routes back for a moment."""
    more = Outside(peers=[ROUTER], networks={7: ["10.50.7.0/24"], **NETWORKS}, next_hops=["10.0.0.250"])
    before = frr_conf(HV1, ALL, 65000, Outside(peers=[ROUTER], networks=NETWORKS, next_hops=["10.0.0.250"]))
    assert {*before.splitlines()} < {*frr_conf(HV1, ALL, 65000, more).splitlines()}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, ["10.50.0.0/24", "fd50::/64"]),
        ({"nat": "yes"}, ["fd50::/64"]),
        ({"upstream": "no"}, []),
    ],
)
def test_what_upstream_has_to_know_of_a_network(options: dict[str, str], told: list[str]) -> None:
    four, six = Subnet(network="10.50.0.0/24", gateway="10.50.0.1"), Subnet(network="fd50::/64", gateway="fd50::1")
    network = Network(vni=100, id="n", name="lab", nettype="managed", ip4=four, ip6=six, options=options)
    assert routed(network) == told


@pytest.mark.parametrize(
    ("peers", "words"),
    [
        ([{"address": "10.0.0.1", "asn": 65000}], "has this cluster's own autonomous system 65000"),
        ([{"address": "10.0.0.1", "asn": 1}, {"address": "10.0.0.1", "asn": 2}], "is there twice"),
        ([{"address": "10.0.0.1", "asn": 1, "accept": ["::/0"]}], "::/0 is of another family than the peer"),
        ([{"address": "10.0.0.1", "asn": 1, "announce": ["10.1.2.3/8"]}], "is no network"),
        ([{"address": "10.0.0.300", "asn": 1}], "Not a valid IP address"),
        ([{"address": "10.0.0.1", "asn": 1, "password_secret": "../key"}], "is no name of a secret"),
    ],
)
def test_peers_that_cannot_be_are_refused(peers: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Config().load({"upstream_peers": peers})


@pytest.fixture
def fabric(tmp_path: Path) -> tuple[FakeContext, Fabric]:
    """Of hv1, with hv2 and hv3 on record; FRR does not run."""
    context = FakeContext({"asn": 65000}, host_networks={"cluster": "10.71.0.11/24"})
    for number in (1, 2, 3):
        note = json.dumps({"address": f"10.71.0.1{number}", "coordinator": True}).encode()
        context.state.put(f"nodes/hv{number}", note, if_version=None)
    return context, Fabric(context, Kernel(), run=tmp_path)


def test_a_removed_node_is_no_neighbour_and_the_primary_forgets_it(fabric: tuple[FakeContext, Fabric]) -> None:
    context, speaker = fabric
    assert speaker.others() == ["10.71.0.12", "10.71.0.13"]
    context.gone, context.primary = {"hv3", "hv9"}, False
    assert speaker.others() == ["10.71.0.12"]
    speaker.forget_gone()
    assert context.state.children("nodes") == ["hv1", "hv2", "hv3"]  # another's work
    context.primary = True
    speaker.forget_gone()
    assert context.state.children("nodes") == ["hv1", "hv2"]


def test_a_node_is_forgotten_because_it_was_removed_never_because_it_is_unknown(
    fabric: tuple[FakeContext, Fabric],
) -> None:
    context, speaker = fabric
    speaker.forget_gone()
    assert context.state.children("nodes") == ["hv1", "hv2", "hv3"] and len(speaker.others()) == 2


def test_a_password_is_in_no_complaint(fabric: tuple[FakeContext, Fabric], monkeypatch: pytest.MonkeyPatch) -> None:
    """FRR repeats what it does not take; the sentence goes into logs, and to everybody who looks at a node."""
    context, speaker = fabric
    said = "line 12: % Unknown command:  neighbor 10.0.0.1 password s3cret!\nline 13: neighbor 10.0.0.2 password x\n"
    monkeypatch.setattr(context, "run", lambda argv, deadline_s: Completed(returncode=1, stdout="", stderr=said))
    with pytest.raises(Retry) as refused:
        speaker._do(["vtysh"])
    assert "line 12" in str(refused.value) and "10.0.0.1 password" in str(refused.value)
    assert "s3cret" not in str(refused.value) and "password x" not in str(refused.value)


class Broken(FakeState):
    """Fails as nothing of ours does."""

    tried = 0

    def get(self, key: str) -> tuple[bytes, int]:
        self.tried += 1
        raise RuntimeError("child process is dead")


def test_whatever_fails_is_told_and_tried_again(tmp_path: Path) -> None:
    state = Broken()
    context = FakeContext({"asn": 65000}, state=state, host_networks={"cluster": "10.71.0.11/24"})
    speaker = Fabric(context, Kernel(), run=tmp_path)
    until_s = time.monotonic() + 30
    while state.tried < 2:
        with pytest.raises(Retry, match="waiting for FRR"):
            speaker.demand_ready()
        for wake in state.wakes:
            wake()
        assert time.monotonic() < until_s, "it is tried again"
        time.sleep(0.01)
    speaker.stop()
    assert (25, "RuntimeError: child process is dead") in context.reports
