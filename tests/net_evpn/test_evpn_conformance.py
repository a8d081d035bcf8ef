"""net_evpn answers the suite's questions with packets, over real VXLAN and real FRR."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pvc_core.errors import Refused
from pvc_core.testing.contract_network import MACS, NetworkContract, address, plugged
from pvc_net_common.floods import Floods

from .evpn_rig import EvpnRig, Guest, World, await_ready, opened

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]


@pytest.fixture
def rig(world: World) -> Iterator[EvpnRig]:
    rig = EvpnRig(world)
    yield rig
    rig.clean()


class TestEvpn(NetworkContract):
    @pytest.fixture
    def rig(self, world: World) -> Iterator[EvpnRig]:
        rig = EvpnRig(world)
        yield rig
        rig.clean()


def test_a_network_is_not_removed_from_under_a_guest(rig: EvpnRig) -> None:
    network = rig.network()
    guest = plugged(rig, "hv1", network, 0)
    with pytest.raises(Refused, match="still has guests plugged in here: tap5254"):
        rig.driver("hv1").remove_network(network, deadline_s=10)
    rig.unplugged(guest)
    rig.driver("hv1").remove_network(network, deadline_s=10)


def test_a_change_of_the_mtu_reaches_the_ports_of_guests(rig: EvpnRig, world: World) -> None:
    network = rig.network(mtu=1300)
    guest = plugged(rig, "hv1", network, 0)
    assert isinstance(guest, Guest)
    for mtu in (1300, 1400):
        world.kernel("hv1").ensure(network.vni, network.id, world.fabrics["hv1"].local, mtu)
        with opened(world.space("hv1")) as host:
            assert host.get_links(host.link_lookup(ifname=guest.tap)[0])[0].get("ifla_mtu") == mtu
        assert not world.kernel("hv1").ensure(network.vni, network.id, world.fabrics["hv1"].local, mtu)


def test_a_restart_of_the_daemon_leaves_frr_and_its_sessions_alone(rig: EvpnRig, world: World) -> None:
    network = rig.network()
    mine = plugged(rig, "hv1", network, 0)
    plugged(rig, "hv2", network, 2)
    assert rig.reaches(mine, address(network, 2), within_s=rig.arrival_s)
    before = pids(world.place / "hv1")
    world.fabrics["hv1"].stop()
    world.fabrics["hv1"] = world._fabric("hv1", 1)
    await_ready(world.fabrics["hv1"])
    assert pids(world.place / "hv1") == before
    assert rig.reaches(mine, address(network, 2), within_s=rig.arrival_s)


def test_bgpd_that_dies_is_started_again_with_its_configuration(rig: EvpnRig, world: World) -> None:
    network = rig.network()
    mine = plugged(rig, "hv1", network, 0)
    os.kill(pids(world.place / "hv1")["bgpd"], 9)
    plugged(rig, "hv2", network, 2, mac=MACS[2])
    assert rig.reaches(mine, address(network, 2), within_s=60)


def test_a_removed_node_is_no_neighbour_and_no_frame_is_sent_to_it(rig: EvpnRig, world: World) -> None:
    network = rig.network()
    rig.driver("hv1").ensure_network(network, deadline_s=rig.deadline_s)
    note = json.dumps({"address": "10.71.0.9", "coordinator": True}).encode()
    world.state.put("nodes/hv9", note, if_version=None)
    until(lambda: known(world, network.vni, "10.71.0.9") == [True, True], "hv9 is a neighbour and in the list")
    for context in world.contexts.values():
        context.gone = {"hv9"}
    until(lambda: known(world, network.vni, "10.71.0.9") == [False, False], "it is neither")
    assert world.state.children("nodes") == ["hv1", "hv2"]
    assert known(world, network.vni, "10.71.0.2") == [True, True]
    for context in world.contexts.values():
        context.gone = set()


def known(world: World, vni: int, address: str) -> list[bool]:
    """Whether hv1's FRR has it as a neighbour, and hv1's kernel sends to it what has no known place."""
    run = world.place / "hv1"
    argv = ["vtysh", "--vty_socket", str(run), "--config_dir", str(run), "-c", "show running-config"]
    shown = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False).stdout
    fdb = ["ip", "netns", "exec", world.space("hv1"), "bridge", "fdb", "show", "dev", f"vxlan{vni}"]
    listed = subprocess.run(fdb, capture_output=True, text=True, timeout=30, check=True).stdout
    return [f"neighbor {address} remote-as" in shown, f"dst {address} " in listed]


def until(true: Callable[[], bool], what: str) -> None:
    until_s = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until_s, what
        time.sleep(0.2)


def test_a_strangers_vxlan_keeps_its_list_of_nodes_when_bgpd_dies(world: World) -> None:
    """FRR takes up every VXLAN device, whoever made it, and takes lists away when its bgpd dies."""
    kernel, floods = world.kernel("hv1"), Floods()
    with kernel.open() as ip:
        ip.link("add", ifname="theirs", kind="bridge", state="up")
        bridge, via = ip.link_lookup(ifname="theirs")[0], ip.link_lookup(ifname="eth1")[0]
        ip.link(
            "add", ifname="foreign", kind="vxlan", vxlan_id=900, vxlan_local="10.71.0.1", vxlan_port=4790,
            master=bridge, state="up",
        )  # fmt: skip
        assert floods.ensure(ip, ["foreign"], {"10.71.0.2"}, via) is True
        pid_file = world.place / "hv1/bgpd.pid"
        before = pid_file.read_text()
        os.kill(int(before), 9)
        until_s = time.monotonic() + 60
        while pid_file.read_text() in ("", before) or vnis(world.place / "hv1") != {900}:
            assert time.monotonic() < until_s, "FRR is back and has taken up the device"
            time.sleep(0.2)
        assert floods.ensure(ip, ["foreign"], {"10.71.0.2"}, via, anew=True) is False  # it stands there as it did
        for name in ("foreign", "theirs"):
            ip.link("del", index=ip.link_lookup(ifname=name)[0])


def vnis(run: Path) -> set[int]:
    argv = ["vtysh", "--vty_socket", str(run), "--config_dir", str(run), "-c", "show evpn vni json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    return {int(vni) for vni in json.loads(done.stdout)} if done.returncode == 0 and done.stdout.strip() else set()


def pids(place: Path) -> dict[str, int]:
    return {name: int((place / f"{name}.pid").read_text()) for name in ("zebra", "bgpd")}
