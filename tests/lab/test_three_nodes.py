"""Three real nodes on a real ensemble: they come up, see each other, and outlive what happens to one of them."""

from __future__ import annotations

import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from lab import LabError

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]


def test_every_api_shows_all_nodes_and_each_node_is_itself(lab3: RunningLab) -> None:
    for name in lab3.coordinators:
        assert {item["name"]: item["daemon_state"] for item in lab3.api_of(name).get("/node")} == {
            "hv1": "run",
            "hv2": "run",
            "hv3": "run",
        }
    for words in (["hostname"], ["virsh", "capabilities"], ["cat", "/etc/machine-id"], ["readlink", "/proc/1/ns/net"]):
        assert len({_first(lab3.exec(name, *words), "uuid") for name in lab3.nodes}) == 3, words
    assert sorted(lab3.store_role(name) for name in lab3.nodes) == ["follower", "follower", "leader"]


def test_every_api_tells_prometheus_of_all_three_zookeepers(lab3: RunningLab) -> None:
    """Asked as Prometheus does, without a key; one of them leads."""
    for name in lab3.coordinators:
        told = f"{lab3.api_of(name).url}/metrics/zookeeper"
        with urllib.request.urlopen(told, timeout=60) as answer:
            text = answer.read().decode()
        for server in lab3.coordinators:
            assert f'zookeeper_up{{server="{server}"}} 1' in text
            assert f'znode_count{{server="{server}"}} ' in text
        assert text.count('state="leader"} 1') == 1 and text.count('state="follower"} 1') == 2
        with urllib.request.urlopen(told.removesuffix("/zookeeper"), timeout=60) as answer:
            whole = answer.read().decode()
        assert "zookeeper_up" in whole and "pvc_nodes 3" in whole


def test_nodes_reach_each_other_on_all_three_networks_and_their_libvirts_too(lab3: RunningLab) -> None:
    for subnet in ("10.70.0", "10.71.0", "10.72.0"):
        for number, name in enumerate(lab3.nodes, 1):
            assert f"{subnet}.{10 + number}/24" in lab3.exec(name, "ip", "-o", "-4", "addr")
            for other in {1, 2, 3} - {number}:
                assert _reached(lab3, name, f"{subnet}.{10 + other}")
    assert lab3.exec("hv1", "virsh", "-c", "qemu+tls://hv2/system", "hostname").strip() == "hv2"
    with pytest.raises(LabError, match="refused"):  # not without certificates
        lab3.exec("hv1", "virsh", "-c", "qemu+tcp://hv2/system", "hostname")


def test_a_guest_runs_where_it_shall_on_the_pool_of_all(lab3: RunningLab) -> None:
    assert "login:" in lab3.guest("roams", node="hv3")
    assert "roams" in lab3.exec("hv3", "virsh", "list", "--name")
    for name in lab3.nodes:
        assert "roams-root" in lab3.exec(name, "find", "/var/lib/pvc/volumes", "-name", "*roams*")
        console = lab3.api_of(name).get("/vm/roams/console", lines=50)["data"]
        assert "login:" in console, f"through {name}'s API"
    lab3.remove_guest("roams")


def test_a_write_through_one_api_is_seen_through_the_others(lab3: RunningLab) -> None:
    for writer, state in (("hv1", "true"), ("hv3", "false")):
        lab3.api_of(writer).post("/status", state=state)
        for name in lab3.coordinators:
            lab3.eventually(lambda name=name, state=state: _maintenance(lab3, name) == state, f"{name} sees {state}")


def test_a_node_is_switched_off_and_on(lab3: RunningLab) -> None:
    before = lab3.exec("hv3", "cat", "/proc/sys/kernel/hostname", "/var/lib/pvc/zookeeper/data/myid")
    lab3.power_off("hv3")
    _await_write(lab3)
    with pytest.raises(LabError, match="off"):
        lab3.exec("hv3", "true")
    lab3.power_on("hv3")
    _whole(lab3)
    assert lab3.exec("hv3", "cat", "/proc/sys/kernel/hostname", "/var/lib/pvc/zookeeper/data/myid") == before


def test_power_off_sends_nothing(lab3: RunningLab) -> None:
    """Whoever was connected to the node hears no end of it: no FIN, no RST."""
    lab3.exec("hv1", "sh", "-c", f"timeout 30 python3 -I -c '{TALK}' hv2 >/tmp/heard 2>&1 &")
    lab3.eventually(lambda: "connected" in lab3.exec("hv1", "cat", "/tmp/heard"), "a connection to the node stands")
    lab3.power_off("hv2")
    time.sleep(2)
    assert lab3.exec("hv1", "cat", "/tmp/heard").split() == ["connected"]
    lab3.power_on("hv2")
    _whole(lab3)


def test_a_cut_is_silent_and_heals(lab3: RunningLab) -> None:
    lab3.cut("hv3", "storage")
    assert not _reached(lab3, "hv3", "10.72.0.11")
    assert not _reached(lab3, "hv3", "10.72.0.1")
    assert _reached(lab3, "hv3", "10.71.0.11")
    assert "state UP" in lab3.exec("hv3", "ip", "link", "show", "eth2")
    lab3.heal("hv3", "storage")
    lab3.eventually(lambda: _reached(lab3, "hv3", "10.72.0.11"), "the storage network is whole")
    lab3.cut("hv3")
    assert not _reached(lab3, "hv1", "10.71.0.13")
    lab3.eventually(lambda: lab3.store_role("hv3") == "not serving", "its server has no majority any more")
    _await_write(lab3)
    lab3.heal("hv3")
    _whole(lab3)


def test_a_cut_outlasts_the_power(lab3: RunningLab) -> None:
    lab3.cut("hv3", "storage")
    lab3.power_off("hv3")
    lab3.power_on("hv3")
    assert not _reached(lab3, "hv3", "10.72.0.11")
    lab3.heal("hv3", "storage")
    lab3.eventually(lambda: _reached(lab3, "hv3", "10.72.0.11"), "its networks are made and whole")
    _whole(lab3)


def test_the_api_goes_on_when_the_leader_of_the_ensemble_is_killed(lab3: RunningLab) -> None:
    leader = next(name for name in lab3.nodes if lab3.store_role(name) == "leader")
    lab3.stop(leader, "pvc-zookeeper")
    started = time.monotonic()
    _await_write(lab3)
    print(f"the first write after the leader's end took {time.monotonic() - started:.1f} s")
    lab3.start(leader, "pvc-zookeeper")
    lab3.eventually(lambda: _roles(lab3) == ["follower", "follower", "leader"], "the ensemble is whole again")
    _whole(lab3)


def test_the_forwarder_takes_a_node_that_answers(lab3: RunningLab) -> None:
    for name in lab3.coordinators:
        lab3.cut(name, "upstream")
        assert lab3.api.get("/node")
        with pytest.raises(LabError):
            lab3.api_of(name).call("GET", "/", {}, deadline_s=1)
        lab3.heal(name, "upstream")
    _whole(lab3)


TALK = """
import socket, sys
line = socket.create_connection((sys.argv[1], 16514))
print("connected", flush=True)
print(line.recv(1), flush=True)
"""


def _first(text: str, word: str) -> str:
    """The first line with `word`, or all of it."""
    return next((line for line in text.splitlines() if word in line), text)


def _reached(lab: RunningLab, name: str, address: str) -> bool:
    """Whether `name` gets any answer from `address`: a refusal of a port nobody listens on is one."""
    ask = f"import socket; socket.create_connection(('{address}', 9), 1)"
    try:
        lab.exec(name, "python3", "-I", "-c", ask)
    except LabError as error:
        return "ConnectionRefused" in str(error)
    return True


def _maintenance(lab: RunningLab, name: str) -> str:
    return str(lab.api_of(name).get("/status")["maintenance"])


def _await_write(lab: RunningLab) -> None:
    """A write through whichever API answers is accepted, and read back."""

    def accepted() -> bool:
        try:
            lab.api.post("/status", state="true")
            lab.api.post("/status", state="false")
            return bool(lab.api.get("/status")["maintenance"] == "false")
        except LabError:
            return False

    lab.eventually(accepted, "a write is accepted")


def _roles(lab: RunningLab) -> list[str]:
    return sorted(lab.store_role(name) for name in lab.coordinators)


def _whole(lab: RunningLab) -> None:
    """As the next test wants to find it."""

    def whole() -> bool:
        try:
            return all(
                [item["daemon_state"] for item in lab.api_of(name).get("/node")] == ["run"] * len(lab.nodes)
                and all(unit["state"] == "active" for unit in lab.units(name).values())
                for name in lab.coordinators
            )
        except LabError:
            return False

    lab.eventually(whole, "all nodes are at work again")
