# SPDX-License-Identifier: LGPL-3.0-or-later
"""The questions every network driver is asked. Subclass NetworkContract in a test file and give it a fixture `rig`.

Each test says which capability it is about; pytest_plugin.py sums them up at the end.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.contracts.network import NetworkCapabilities, NetworkDriver
from pvc_core.contracts.targets import Bridge, Hostdev, Macvtap, NicTarget, VhostUser
from pvc_core.ids import new_uuid
from pvc_core.model.network import Network
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
