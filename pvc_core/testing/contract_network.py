# SPDX-License-Identifier: LGPL-3.0-or-later
"""The questions every network driver is asked. Subclass NetworkContract in a test file and give it a fixture `rig`.

Each test says which capability it is about; pytest_plugin.py sums them up at the end.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.contracts.network import NetworkCapabilities, NetworkDriver
from pvc_core.contracts.targets import Bridge, Hostdev, Macvtap, NicTarget, VhostUser
from pvc_core.errors import Refused
from pvc_core.ids import new_uuid
from pvc_core.model.network import Acl, AclDirection, Network
from pvc_core.testing.network_rig import NetworkRig

about = pytest.mark.pvc_capability
MACS = tuple(f"52:54:00:00:01:{number:02x}" for number in range(1, 9))
SILENT_S = 3.0
"""So long nothing comes where nothing may come."""


class NetworkContract:
    """Everything the contract promises, with packets."""

    @pytest.fixture
    def rig(self) -> NetworkRig:
        raise NotImplementedError("give your class a fixture called rig that returns a NetworkRig")

    @about("core")
    def test_capabilities_are_well_formed(self, rig: NetworkRig) -> None:
        can = rig.definitions.capabilities
        assert isinstance(can, NetworkCapabilities) and can.vni_max >= 1
        assert can.nic_targets and set(can.nic_targets) <= {Bridge, Macvtap, Hostdev, VhostUser}
        assert 576 <= rig.definitions.mtu_max({"upstream": 1500, "cluster": 1500, "storage": 1500}) <= 1500
        assert rig.definitions.mtu_max({"upstream": 9000, "cluster": 9000, "storage": 9000}) > 1500

    @about("core")
    def test_ensuring_again_changes_nothing(self, rig: NetworkRig) -> None:
        network = rig.network()
        assert rig.driver("hv1").ensure_network(network, deadline_s=rig.deadline_s) is True
        for _again in range(5):
            assert rig.driver("hv1").ensure_network(network, deadline_s=rig.deadline_s) is False
        assert listed(rig.driver("hv1")) == {(network.vni, network.id)}

    @about("core")
    def test_removing_takes_everything_and_again_is_fine(self, rig: NetworkRig) -> None:
        network, other = rig.network(100), rig.network(101)
        driver = rig.driver("hv1")
        for one in (network, other):
            driver.ensure_network(one, deadline_s=rig.deadline_s)
        for _again in range(3):
            rig.driver("hv1").remove_network(network, deadline_s=rig.deadline_s)
        assert listed(rig.driver("hv1")) == {(other.vni, other.id)}

    @about("core")
    def test_a_new_network_of_an_old_number_is_not_removed_with_the_old_one(self, rig: NetworkRig) -> None:
        old, driver = rig.network(), rig.driver("hv1")
        driver.ensure_network(old, deadline_s=rig.deadline_s)
        driver.remove_network(old, deadline_s=rig.deadline_s)
        new = replace(old, id=new_uuid())
        driver.ensure_network(new, deadline_s=rig.deadline_s)
        driver.remove_network(old, deadline_s=rig.deadline_s)
        assert listed(driver) == {(new.vni, new.id)}

    @about("core")
    def test_guests_on_two_nodes_and_on_one_reach_each_other(self, rig: NetworkRig) -> None:
        network = rig.network()
        first = plugged(rig, "hv1", network, 0)
        plugged(rig, "hv1", network, 1)
        plugged(rig, "hv2", network, 2)
        assert rig.reaches(first, address(network, 1), within_s=rig.arrival_s)
        assert rig.reaches(first, address(network, 2), within_s=rig.arrival_s)

    @about("core")
    def test_networks_are_separate_whatever_their_addresses(self, rig: NetworkRig) -> None:
        network = rig.network(100)
        other = rig.network(101, ip4=network.ip4)
        mine = plugged(rig, "hv1", network, 0)
        plugged(rig, "hv2", network, 2)
        plugged(rig, "hv1", other, 4, mac=MACS[3])
        plugged(rig, "hv2", other, 5, mac=MACS[4])
        assert rig.reaches(mine, address(network, 2), within_s=rig.arrival_s)
        assert not rig.reaches(mine, address(network, 4), within_s=SILENT_S)
        assert not rig.reaches(mine, address(network, 5), within_s=SILENT_S)

    @about("core")
    def test_a_change_of_the_mtu_keeps_guests_connected(self, rig: NetworkRig) -> None:
        network = rig.network(mtu=1400)
        mine = plugged(rig, "hv1", network, 0)
        plugged(rig, "hv2", network, 2)
        assert rig.reaches(mine, address(network, 2), within_s=rig.arrival_s)
        smaller = replace(network, mtu=1300)
        for node in ("hv1", "hv2"):
            assert rig.driver(node).ensure_network(smaller, deadline_s=rig.deadline_s) is True
            assert rig.mtu(node, target(rig, node, smaller, MACS[7])) == 1300
        assert rig.reaches(mine, address(network, 2), within_s=rig.arrival_s)

    @about("core")
    def test_left_to_itself_the_mtu_is_the_largest_that_fits(self, rig: NetworkRig) -> None:
        network = rig.network()
        assert rig.mtu("hv1", target(rig, "hv1", network, MACS[0])) == rig.definitions.mtu_max({"cluster": 1500})

    @about("core")
    def test_what_a_guest_plugs_into_is_a_target_that_was_declared(self, rig: NetworkRig) -> None:
        found = target(rig, "hv1", rig.network(), MACS[0])
        assert type(found) in rig.definitions.capabilities.nic_targets

    @about("core")
    def test_unplugging_again_is_fine(self, rig: NetworkRig) -> None:
        network, driver = rig.network(), rig.driver("hv1")
        uuid = new_uuid()
        driver.plug(network, vm_uuid=uuid, mac=MACS[0], deadline_s=rig.deadline_s)
        for _again in range(3):
            driver.unplug(network, vm_uuid=uuid, mac=MACS[0], deadline_s=rig.deadline_s)
        driver.remove_network(network, deadline_s=rig.deadline_s)
        assert listed(driver) == set()

    @about("acls")
    def test_acls_hold_between_guests_of_one_node_and_of_two(self, rig: NetworkRig) -> None:
        needs(rig, "acls")
        network = rig.network()
        mine = plugged(rig, "hv1", network, 0)
        plugged(rig, "hv1", network, 1)
        plugged(rig, "hv2", network, 2)
        near, far = address(network, 1), address(network, 2)
        assert all(rig.reaches(mine, to, within_s=rig.arrival_s) for to in (near, far))
        for direction in AclDirection:
            for to, other in ((near, far), (far, near)):
                barred = replace(network, acls=(acl("bar", direction, f"ip daddr {to} drop"),))
                for node in ("hv1", "hv2"):
                    assert rig.driver(node).ensure_network(barred, deadline_s=rig.deadline_s) is True
                    assert rig.driver(node).ensure_network(barred, deadline_s=rig.deadline_s) is False
                assert not rig.reaches(mine, to, within_s=SILENT_S)
                assert rig.reaches(mine, other, within_s=rig.arrival_s)
        for node in ("hv1", "hv2"):
            assert rig.driver(node).ensure_network(network, deadline_s=rig.deadline_s) is True
        assert all(rig.reaches(mine, to, within_s=rig.arrival_s) for to in (near, far))

    @about("acls")
    def test_the_first_acl_that_decides_wins_and_each_counts(self, rig: NetworkRig) -> None:
        needs(rig, "acls")
        network = rig.network()
        mine = plugged(rig, "hv1", network, 0)
        plugged(rig, "hv1", network, 1)
        other = address(network, 1)
        let, bar = (acl(verdict, AclDirection.IN, f"ip daddr {other} {verdict}") for verdict in ("accept", "drop"))
        rig.driver("hv1").ensure_network(replace(network, acls=(bar, let)), deadline_s=rig.deadline_s)
        assert not rig.reaches(mine, other, within_s=SILENT_S)
        rig.driver("hv1").ensure_network(replace(network, acls=(let, bar)), deadline_s=rig.deadline_s)
        assert rig.reaches(mine, other, within_s=rig.arrival_s)
        counts = rig.driver("hv1").acl_counts(replace(network, acls=(let, bar)), deadline_s=rig.deadline_s)
        assert {one.name: one.packets > 0 for one in counts} == {"accept": True, "drop": False}

    @about("acls")
    def test_acls_of_one_network_are_nothing_to_another(self, rig: NetworkRig) -> None:
        needs(rig, "acls")
        network, other = rig.network(100), rig.network(101)
        mine = plugged(rig, "hv1", network, 0)
        plugged(rig, "hv1", network, 1)
        barred = replace(other, acls=tuple(acl(str(way), way, "drop") for way in AclDirection))
        rig.driver("hv1").ensure_network(barred, deadline_s=rig.deadline_s)
        assert rig.reaches(mine, address(network, 1), within_s=rig.arrival_s)

    @about("acls")
    @pytest.mark.parametrize(
        "rule",
        [
            "ip daddr 999.1.1.1 drop", "ip daddr", "drop; accept", "drop\naccept", "",
            'accept # "\nadd table inet slipped_in #"', 'log prefix "accept',
        ],
    )  # fmt: skip
    def test_a_rule_that_is_none_is_refused_in_words_and_changes_nothing(self, rig: NetworkRig, rule: str) -> None:
        needs(rig, "acls")
        network, driver = rig.network(), rig.driver("hv1")
        driver.ensure_network(network, deadline_s=rig.deadline_s)
        for direction in AclDirection:
            driver.check_acl(network, acl("good", direction, "ip daddr 10.0.0.1 drop"), deadline_s=rig.deadline_s)
            with pytest.raises(Refused) as refused:
                driver.check_acl(network, acl("bad", direction, rule), deadline_s=rig.deadline_s)
            assert len(refused.value.message.split()) > 5 and refused.value.help
        assert driver.ensure_network(network, deadline_s=rig.deadline_s) is False

    @about("anti_spoofing")
    def test_a_guest_sends_with_its_own_mac_and_address_only(self, rig: NetworkRig) -> None:
        needs(rig, "anti_spoofing")
        network = rig.network(100)
        first, liar, stranger, last = (target(rig, "hv1", network, mac) for mac in MACS[:4])
        honest = rig.guest("hv1", first, MACS[0], "10.20.100.10/16")
        false_mac = rig.guest("hv1", liar, MACS[4], "10.20.100.11/16")
        false_address = rig.guest("hv1", stranger, MACS[2], "10.20.7.12/16")
        rig.guest("hv1", last, MACS[3], "10.20.100.13/16")
        assert rig.reaches(honest, "10.20.100.13", within_s=rig.arrival_s)
        assert not rig.reaches(false_mac, "10.20.100.13", within_s=SILENT_S)
        assert not rig.reaches(false_address, "10.20.100.13", within_s=SILENT_S)

    @about("anti_spoofing")
    def test_nothing_of_a_network_is_in_the_way_of_the_next_one(self, rig: NetworkRig) -> None:
        """The same NIC goes to another network; the first is removed without a word about the NIC."""
        needs(rig, "anti_spoofing")
        old, new = rig.network(100), rig.network(101)
        target(rig, "hv1", old, MACS[0])
        rig.driver("hv1").remove_network(old, deadline_s=rig.deadline_s)
        mine = plugged(rig, "hv1", new, 0)
        plugged(rig, "hv1", new, 1)
        assert rig.reaches(mine, address(new, 1), within_s=rig.arrival_s)


def needs(rig: NetworkRig, capability: str) -> None:
    if not getattr(rig.definitions.capabilities, capability):
        pytest.skip(f"the driver does not declare {capability}")


def acl(name: str, direction: AclDirection, rule: str) -> Acl:
    return Acl(name=name, direction=direction, rule=rule)


def listed(driver: NetworkDriver) -> set[tuple[int, str]]:
    return {(found.vni, found.id) for found in driver.list_networks(deadline_s=30.0)}


def address(network: Network, position: int) -> str:
    """The guest's at `position`, in the network."""
    return f"{network.ip4.network.rpartition('.')[0]}.{10 + position}"


def target(rig: NetworkRig, node: str, network: Network, mac: str) -> NicTarget:
    driver = rig.driver(node)
    driver.ensure_network(network, deadline_s=rig.deadline_s)
    return driver.plug(network, vm_uuid=new_uuid(), mac=mac, deadline_s=rig.deadline_s)


def plugged(rig: NetworkRig, node: str, network: Network, position: int, *, mac: str = "") -> object:
    mac = mac or MACS[position]
    return rig.guest(node, target(rig, node, network, mac), mac, f"{address(network, position)}/24")
