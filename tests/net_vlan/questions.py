"""What net_vlan is asked where a kernel has VLANs: the suite for network drivers, and what is its own. Collected by
test_vlan_devices.py's pytest inside User Mode Linux, or by hand on such a machine: pytest tests/net_vlan/questions.py.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pvc_core.errors import Permanent, Refused, Retry
from pvc_core.testing.contract_network import MACS, NetworkContract, address, plugged

from .vlan_rig import TRUNK, VlanRig


@pytest.fixture
def rig() -> Iterator[VlanRig]:
    rig = VlanRig()
    yield rig
    rig.clean()


class TestVlan(NetworkContract):
    @pytest.fixture
    def rig(self, rig: VlanRig) -> VlanRig:
        return rig


def test_frames_on_the_trunk_carry_the_networks_tag_or_the_one_that_was_chosen(rig: VlanRig) -> None:
    network = rig.network(100)
    for tag, shown in (("", "vlan 100"), ("77", "vlan 77"), ("priority", "vlan 0")):
        network = replace(network, options={"tag": tag} if tag else {})
        for node in ("hv1", "hv2"):
            rig.driver(node).ensure_network(network, deadline_s=10)
        if not rig.guests:
            plugged(rig, "hv1", network, 0)
            plugged(rig, "hv2", network, 2)
        assert shown in seen_on_trunk(rig, address(network, 2)), tag


def test_an_untagged_network_takes_and_sends_frames_without_tag_and_no_others(rig: VlanRig) -> None:
    network, tagged = rig.network(100, options={"tag": "untagged"}), rig.network(101)
    mine = plugged(rig, "hv1", network, 0)
    plugged(rig, "hv2", network, 2)
    other = plugged(rig, "hv1", tagged, 3)
    plugged(rig, "hv2", tagged, 4)
    assert "vlan" not in seen_on_trunk(rig, address(network, 2))
    assert rig.reaches(mine, address(network, 2), within_s=10)
    assert rig.reaches(other, address(tagged, 4), within_s=10)
    assert not rig.reaches(mine, address(tagged, 4), within_s=2)
    # tagged frames of a VLAN that is no network here do not get to the guests of the untagged one
    stray = replace(network, options={"tag": "55"})
    rig.driver("hv2").ensure_network(stray, deadline_s=10)
    assert not rig.reaches(mine, address(network, 2), within_s=2)
    rig.driver("hv1").ensure_network(stray, deadline_s=10)  # and back to a tag, guests plugged in
    assert rig.reaches(mine, address(network, 2), within_s=10)


def test_a_trunk_that_goes_and_comes_back(rig: VlanRig) -> None:
    network = rig.network()
    mine = plugged(rig, "hv1", network, 0)
    plugged(rig, "hv1", network, 1)
    plugged(rig, "hv2", network, 2)
    assert rig.reaches(mine, address(network, 2), within_s=10)
    rig.cut()
    for _again in range(2):
        with pytest.raises(Retry, match=f"no device {TRUNK}, the trunk of bridged networks"):
            rig.driver("hv1").ensure_network(network, deadline_s=10)
    assert rig.reaches(mine, address(network, 1), within_s=10)  # on the same node all the while
    rig.cable()
    for node in ("hv1", "hv2"):
        assert rig.driver(node).ensure_network(network, deadline_s=10) is True
        assert rig.driver(node).ensure_network(network, deadline_s=10) is False
    assert rig.reaches(mine, address(network, 2), within_s=10)


def test_a_network_larger_than_the_trunk_is_refused_unless_the_trunk_is_to_be_larger(rig: VlanRig) -> None:
    network = rig.network(mtu=9000)
    with pytest.raises(Permanent, match="carries 1500 bytes, and the network wants 9000"):
        rig.driver("hv1").ensure_network(network, deadline_s=10)
    assert rig.kernel("hv1", mtu=9000).ensure(100, network.id, 100, 9000) is True
    assert rig.kernel("hv1", mtu=9000).ensure(100, network.id, 100, 9000) is False
    assert "mtu 9000" in rig.on_node("hv1", "ip", "link", "show", "vmbr100").stdout


def test_one_untagged_network_and_never_the_hosts_own_trunk(rig: VlanRig) -> None:
    first, second = (rig.network(vni, options={"tag": "untagged"}) for vni in (100, 101))
    rig.driver("hv1").ensure_network(first, deadline_s=10)
    with pytest.raises(Permanent, match="is in vmbr100, so no untagged network can have it"):
        rig.driver("hv1").ensure_network(second, deadline_s=10)
    rig.driver("hv1").remove_network(second, deadline_s=10)
    rig.driver("hv1").remove_network(first, deadline_s=10)
    rig.on_node("hv1", "ip", "addr", "add", "10.9.9.1/24", "dev", TRUNK)
    with pytest.raises(Permanent, match="has an address of the host's"):
        rig.driver("hv1").ensure_network(first, deadline_s=10)
    assert "10.9.9.1" in rig.on_node("hv1", "ip", "addr", "show", TRUNK).stdout


def test_a_network_is_not_removed_from_under_a_guest(rig: VlanRig) -> None:
    network = rig.network()
    guest = plugged(rig, "hv1", network, 0)
    with pytest.raises(Refused, match="still has guests plugged in here: tap"):
        rig.driver("hv1").remove_network(network, deadline_s=10)
    rig.unplugged(guest)
    rig.driver("hv1").remove_network(network, deadline_s=10)
    assert "vlan100" not in rig.on_node("hv1", "ip", "link").stdout


def seen_on_trunk(rig: VlanRig, to: str) -> str:
    """What hv1's trunk carries while its first guest pings."""
    catch = ["nsenter", f"--net=/run/netns/{rig.space('hv1')}", "timeout", "10", "tcpdump", "-lnnei", TRUNK, "-c", "3"]
    with subprocess.Popen(
        [*catch, "icmp or arp or (vlan and (icmp or arp))"], stdout=-1, stderr=-1, text=True
    ) as caught:
        assert caught.stderr and "listening" in caught.stderr.readline() + caught.stderr.readline()
        assert rig.reaches(rig.guests[0], to, within_s=15), MACS
        rig.reaches(rig.guests[0], to, within_s=5)
        return caught.communicate()[0]
