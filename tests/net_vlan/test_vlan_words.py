"""What may be said of a VLAN: no two networks have the same frames of the trunk."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.errors import PvcError, Refused
from pvc_core.ids import new_uuid
from pvc_core.model.network import Network
from pvc_core.services.network_checks import HostSide, check_network
from pvc_net_vlan.definitions import VlanDefinitions


def network(vni: int, tag: str = "") -> Network:
    options = {"tag": tag} if tag else {}
    return Network(vni=vni, id=new_uuid(), name=f"n{vni}", nettype="bridged", domain="n.test", options=options)


def check(one: Network, other: Network) -> None:
    check_network(one, VlanDefinitions(), [other], HostSide(mtus={"upstream": 1500}))


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (network(200, "100"), network(100), "VLAN 100"),
        (network(100), network(200, "100"), "VLAN 100"),
        (network(200, "0100"), network(100), "VLAN 100"),
        (network(200, "untagged"), network(100, "untagged"), "those without a tag"),
        (network(200, "priority"), network(100, "priority"), "those with a priority only"),
    ],
)
def test_a_frame_is_one_networks_only(one: Network, other: Network, said: str) -> None:
    with pytest.raises(Refused, match=said) as error:
        check(one, other)
    assert isinstance(error.value, PvcError) and error.value.help


def test_others_are_beside_each_other() -> None:
    check(network(200, "untagged"), network(100))
    check(network(200, "priority"), network(100, "untagged"))
    check(network(100, "200"), network(200, "100"))
    check(network(100), replace(network(200, "100"), nettype="managed"))  # that word is another driver's
