"""What is asked of net_sriov where there are real functions: in a machine with two Intel 82576 NICs (QEMU's igb) on one
switch, each of which stands for the NIC of a node. Run by test_functions_in_vm.py inside that machine.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyroute2 import IPRoute, NetNS, netns

from pvc_core.contracts.plugin import GuestFacts
from pvc_core.contracts.targets import Hostdev, Macvtap
from pvc_core.errors import NotFound, Permanent, Refused, Retry
from pvc_core.model.network import Network
from pvc_core.model.vm import NicSpec
from pvc_core.testing.context import FakeContext
from pvc_net_sriov.driver import SriovNetworks
from pvc_net_sriov.functions import Functions
from pvc_net_sriov.notes import Notes
from pvc_net_sriov.settled import Settled

MACS = tuple(f"52:54:00:00:07:{number:02x}" for number in range(8))
LAB = Network(vni=100, id="a1", name="lab", nettype="sriov")
ARRIVAL_S = 60.0


class Node:
    """One NIC, with all of the plugin that a node has."""

    def __init__(self, pf: str, place: Path) -> None:
        config = {"devices": [{"phy": pf, "vfcount": 2, "mtu": None}]}
        self.pf, self.context, self.functions = pf, FakeContext(config, node=pf), Functions()
        self.settled = Settled(self.context, self.functions)
        self.notes = Notes(place / pf)
        self.driver = SriovNetworks(self.context, self.settled, self.notes)

    def again(self) -> Node:
        """As after a restart of the daemon."""
        self.settled = Settled(self.context, self.functions)
        self.driver = SriovNetworks(self.context, self.settled, self.notes)
        return self

    def plug(self, network: Network, number: int) -> Macvtap:
        found = self.driver.plug(network, vm_uuid=f"vm{number}", mac=MACS[number], deadline_s=30)
        assert isinstance(found, Macvtap)
        return found

    def unplug(self, network: Network, number: int) -> None:
        self.driver.unplug(network, vm_uuid=f"vm{number}", mac=MACS[number], deadline_s=30)

    def function(self, name: str) -> dict[str, object]:
        told = self.driver.told({}, lambda *_: None)["vfs"]
        assert isinstance(told, list)
        return next(one for one in told if one["phy"] == name)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    both = Node("eth0", tmp_path), Node("eth1", tmp_path)
    yield both
    for node in both:
        for held in node.notes.held().values():
            node.driver.unplug(replace(LAB, vni=held.vni, id=held.id), vm_uuid="", mac=held.mac, deadline_s=30)


class Guest:
    """The other side of a function, as QEMU has it: a device on it, in a namespace of its own."""

    def __init__(self, target: Macvtap, mac: str, address: str, *, kind: str = "macvlan") -> None:
        self.name = f"g{mac[-2:]}"
        with NetNS(self.name) as space, IPRoute() as ip:
            below = ip.link_lookup(ifname=target.device)[0]
            ip.link("set", index=below, state="down")
            ip.link("set", index=below, address=mac)  # libvirt does so: the NIC tells its MAC at its next start only
            mode = {"macvlan_mode": "passthru"} if kind == "macvlan" else {"macvtap_mode": "passthru"}
            ip.link("add", ifname="up0", kind=kind, link=below, address=mac, **mode)
            ip.link("set", index=below, state="up")
            if kind == "macvtap":  # as libvirt's, which stays with the node
                return
            ip.link("set", index=ip.link_lookup(ifname="up0")[0], net_ns_fd=self.name)
            up = space.link_lookup(ifname="up0")[0]
            space.addr("add", index=up, address=address, prefixlen=24)
            space.link("set", index=up, state="up")

    def reaches(self, address: str, *, within_s: float) -> bool:
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            ping = ["nsenter", f"--net=/run/netns/{self.name}", "busybox", "ping", "-c", "1", "-W", "1", address]
            if subprocess.run(ping, capture_output=True, check=False).returncode == 0:
                return True
        return False

    def ended(self) -> None:
        with NetNS(self.name, flags=0) as space, IPRoute() as ip:
            for socket in (space, ip):
                for index in socket.link_lookup(ifname="up0"):
                    socket.link("del", index=index)
        netns.remove(self.name)


def test_guests_of_two_nodes_talk_in_their_own_vlan(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    other = replace(LAB, vni=101, id="a2", name="other")
    places = [(here, LAB, 0), (there, LAB, 1), (there, other, 2)]
    guests = [Guest(node.plug(network, at), MACS[at], f"10.9.0.{at + 1}") for node, network, at in places]
    try:
        assert guests[0].reaches("10.9.0.2", within_s=ARRIVAL_S)
        assert not guests[0].reaches("10.9.0.3", within_s=3.0)
        config = here.function(here.functions.virtual("eth0")[0].name)["config"]
        assert isinstance(config, dict) and config["vlan_id"] == "100" and config["spoof_check"] == "True"
    finally:
        for guest in guests:
            guest.ended()


def test_a_function_is_given_once_and_comes_back_as_it_was(nodes: tuple[Node, Node]) -> None:
    node = nodes[0]
    first, second = node.plug(LAB, 0), node.plug(LAB, 1)
    assert first != second and node.plug(LAB, 0) == first and first.vlan == 100
    with pytest.raises(Retry, match="no virtual function of eth0 is left for NIC 52:54:00:00:07:02 on eth0"):
        node.plug(LAB, 2)
    assert {one.mac for one in node.functions.virtual("eth0")} == {MACS[0], MACS[1]}
    node.unplug(LAB, 0)
    assert node.plug(LAB, 2) == first
    for number in (1, 2):
        node.unplug(LAB, number)
    assert all(one.mac == "00:00:00:00:00:00" and one.settings.vlan_id == 0 for one in node.functions.virtual("eth0"))


def test_a_used_function_is_nobody_elses_also_after_a_restart(nodes: tuple[Node, Node]) -> None:
    node = nodes[0]
    nic = NicSpec(kind="bridge", mac=MACS[0], source="vmbr100", network="100")
    node.context.known_guests = [GuestFacts(uuid="vm0", name="web", nics=(nic,))]
    target = node.plug(LAB, 0)
    guest = Guest(target, MACS[0], "10.9.0.1", kind="macvtap")
    node.again()
    try:
        assert node.function(target.device)["usage"] == {"used": "True", "domain": "web"}
        assert node.plug(LAB, 1) != target
        with pytest.raises(Refused, match="belongs to a guest of network 100"):
            node.driver.set_function({"vf": target.device, "vlan_id": 5}, lambda *_: None)
        with pytest.raises(Refused, match=f"still has guests plugged in here: {target.device}"):
            node.driver.remove_network(LAB, deadline_s=30)
    finally:
        guest.ended()
    node.driver.remove_network(LAB, deadline_s=30)
    assert node.driver.list_networks(deadline_s=30) == []


def test_options_become_the_functions_settings_in_place(nodes: tuple[Node, Node]) -> None:
    node = nodes[0]
    target = node.plug(LAB, 0)
    faster = {"tag": "200", "qos": "3", "spoof_check": "off", "trust": "on", "tx_rate_max": "100"}
    assert node.driver.ensure_network(replace(LAB, options=faster), deadline_s=30) is True
    assert node.driver.ensure_network(replace(LAB, options=faster), deadline_s=30) is False
    config = node.function(target.device)["config"]
    assert isinstance(config, dict)
    asked = ("vlan_id", "vlan_qos", "spoof_check", "trust", "tx_rate_max")
    assert [config[name] for name in asked] == ["200", "3", "False", "True", "100"]
    with pytest.raises(Permanent, match=r"driver does not know this setting of .*: link_state"):
        node.driver.ensure_network(replace(LAB, options={"link_state": "disable"}), deadline_s=30)


def test_a_guest_that_has_its_function_whole_cannot_be_moved_and_the_other_can(nodes: tuple[Node, Node]) -> None:
    node, whole = nodes[0], replace(LAB, options={"attach": "hostdev"})
    found = node.driver.plug(whole, vm_uuid="vm0", mac=MACS[0], deadline_s=30)
    assert found == Hostdev(pci_address=node.functions.virtual("eth0")[0].pci, vlan=100)
    assert "whose state in the hardware cannot be taken along" in node.driver.pinned(whole)
    assert node.driver.pinned(LAB) == ""


def test_what_an_operator_set_holds_until_a_guest_needs_another_and_afterwards(nodes: tuple[Node, Node]) -> None:
    node = nodes[0]
    node.settled.divide("eth0")
    name = node.functions.virtual("eth0")[0].name
    node.driver.set_function({"vf": name, "vlan_id": 300, "trust": True}, lambda *_: None)
    assert node.plug(LAB, 0).device == name
    node.unplug(LAB, 0)
    found = node.functions.virtual("eth0")[0].settings
    assert (found.vlan_id, found.trust) == (300, True)
    node.driver.set_function({"vf": "eth0v0", "vlan_id": 0, "trust": False}, lambda *_: None)
    with pytest.raises(NotFound, match="node eth0 has no virtual function 'eth9'"):
        node.driver.set_function({"vf": "eth9", "trust": True}, lambda *_: None)


def test_a_node_without_that_nic_says_so(nodes: tuple[Node, Node]) -> None:
    node = nodes[0]
    with pytest.raises(Permanent, match="node eth0 does not divide eth7, which network 100"):
        node.driver.ensure_network(replace(LAB, options={"pf": "eth7"}), deadline_s=30)
    with pytest.raises(Permanent, match=r"eth0 carries 1500 bytes, network 100 .* wants 9000"):
        node.driver.ensure_network(replace(LAB, mtu=9000), deadline_s=30)
    node.context.config["devices"][0]["vfcount"] = 3
    node.again().settled.begin()
    pause = threading.Event()
    for _again in range(100):
        if any("3 are wanted" in said for _delta, said in node.context.reports):
            break
        pause.wait(0.2)
    node.settled.stop()
    assert any("their number changes with the next boot" in said for _delta, said in node.context.reports)
