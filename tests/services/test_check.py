"""What nodes' answers mean together: each fault becomes one line that names it, its nodes and what helps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.errors import Retry
from pvc_core.model.check import CheckLine
from pvc_core.services.check import CheckService, clocks, mtu, quorum, same_settings, same_versions
from pvc_core.services.cluster import ClusterService
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.store import FakeStoreServer

NAMES = ("hv1", "hv2", "hv3")
FOLLOWS = {"mode": "follower", "outstanding": "0"}
WELL = {"hv1": {"mode": "leader", "outstanding": "0"}, "hv2": FOLLOWS, "hv3": FOLLOWS}
SILENT = {"error": "Connection refused"}


def findings(lines: Iterable[CheckLine]) -> list[str]:
    wrong = [line for line in lines if not line.ok]
    assert all(line.remedy for line in wrong), "no finding goes without what helps"
    return [f"{line.node}: {line.text}" if line.node else line.text for line in wrong]


def asked(servers: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    return {name: {"servers": servers} for name in NAMES}


def test_a_whole_ensemble_is_well() -> None:
    lines = list(quorum(asked(WELL), NAMES))
    assert findings(lines) == []
    assert "3 of 3 servers serve, 2 are needed; hv1 leads" in [line.text for line in lines]


def test_a_silent_server_is_named_and_the_margin_that_is_gone() -> None:
    assert findings(quorum(asked({**WELL, "hv3": SILENT}), NAMES)) == [
        "hv3: its ZooKeeper server is silent: Connection refused",
        "2 of 3 servers serve, 2 are needed: the next one that fails takes the store with it",
    ]


def test_a_lost_majority_says_that_nothing_can_be_written() -> None:
    alone = {"error": "it is there but has no majority"}
    found = findings(quorum(asked({"hv1": alone, "hv2": SILENT, "hv3": SILENT}), NAMES))
    assert found[-1] == "0 of 3 servers serve, 2 are needed: nothing can be written"
    assert found[0] == "hv1: its ZooKeeper server is silent: it is there but has no majority"


def test_a_server_that_only_some_reach_is_a_matter_of_the_network() -> None:
    answers = {**asked(WELL), "hv2": {"servers": {**WELL, "hv1": {"error": "timed out"}}}}
    assert findings(quorum(answers, NAMES)) == [
        "hv1: its ZooKeeper server (leader) is not reached by all: timed out (hv2)"
    ]


def test_a_clock_that_is_off_is_named_and_the_length_of_the_way_forgiven() -> None:
    assert findings(clocks({"hv1": (0.0, 0.01), "hv2": (-3.24, 0.02), "hv3": (0.02, 0.01)})) == [
        "hv2: its clock is 3.2 s behind (± 0.02 s)"
    ]
    assert findings(clocks({"hv1": (0.0, 0.01), "hv2": (3.0, 2.9), "hv3": (0.02, 0.01)})) == []
    assert findings(clocks({"hv1": (7.0, 0.01), "hv2": (7.0, 0.01), "hv3": (7.1, 0.01)})) == [], "it is the asker's"


def test_a_way_that_loses_large_packets_is_named_by_both_its_ends() -> None:
    sizes = {name: {"networks": {"storage": {"address": "x", "mtu": 9000}}} for name in NAMES}
    well = {name: {"faults": [], "ways": 2} for name in NAMES}
    assert findings(mtu(sizes, well)) == []
    why = "packets of 9000 bytes do not arrive, small ones do"
    broken = {**well, "hv1": {"faults": [["storage", "hv2", why]], "ways": 2}}
    assert findings(mtu(sizes, broken)) == [f"hv1: to hv2 on storage: {why}"]
    sizes["hv3"] = {"networks": {"storage": {"address": "x", "mtu": 1500}}}
    assert findings(mtu(sizes, well)) == ["storage has different MTUs: 9000 (hv1, hv2); 1500 (hv3)"]


def test_a_setting_that_differs_is_named_with_both_values() -> None:
    same = {"cluster.name": "c", "peer.port": "7371"}
    assert findings(same_settings({"hv1": same, "hv2": same})) == []
    assert findings(same_settings({"hv1": same, "hv2": {**same, "peer.port": "7372"}, "hv3": same})) == [
        "peer.port differs: 7371 (hv1, hv3); 7372 (hv2)"
    ]
    only = {**same, "host_networks.storage.mtu": "9000"}
    assert findings(same_settings({"hv1": same, "hv2": only})) == [
        "host_networks.storage.mtu differs: nothing (hv1); 9000 (hv2)"
    ]


def test_versions_that_differ_are_named() -> None:
    found = findings(same_versions({"hv1": {"PVC": "2.0"}, "hv2": {"PVC": "2.1"}}))
    assert found == ["PVC differs: 2.0 (hv1); 2.1 (hv2)"]


class Nodes:
    """Answers for all of them; hv3 is silent if a test says so."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.lines: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}

    def ask(self, node: str, question: str, args: Any, *, deadline_s: float) -> Any:
        if node in self.silent:
            raise Retry("cannot ask it: it does not answer", help="is the node up?")
        answer: dict[str, Any] = {
            "check_clock": {"wall_s": 1000.0},
            "check_node": {
                "lines": self.lines[node],
                "versions": {"PVC": "2.0"},
                "shared": {"cluster.name": "c"},
                "servers": WELL,
                "networks": {"cluster": {"address": f"10.0.0.{node[2:]}", "mtu": 1500}},
            },
            "check_paths": {"faults": [], "ways": len(args.get("peers", {}))},
        }[question]
        return SimpleNamespace(result=answer)


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


def run(nodes: Nodes) -> list[CheckLine]:
    store = FakeStoreServer(auto=True).client()
    keeper = ViewKeeper(store, FakeClock())
    keeper.step()
    desk = cast(Any, SimpleNamespace(view=keeper.view, ask=nodes.ask, clock=FakeClock(), repository=Repository(store)))
    return CheckService(desk, ClusterService(desk, "c", ""), NAMES).run()


def test_a_cluster_that_is_well_has_no_finding(nodes: Nodes) -> None:
    assert findings(run(nodes)) == []


def test_a_silent_node_is_one_line_and_hides_nothing_of_the_others(nodes: Nodes) -> None:
    nodes.silent.add("hv3")
    lines = run(nodes)
    assert findings(lines) == ["hv3: does not answer: cannot ask it: it does not answer (is the node up?)"]
    assert {line.node for line in lines if line.topic == "nodes"} == set(NAMES)
    assert "packets of full size arrive on 2 of 2 ways between nodes" in [line.text for line in lines]


def test_what_nodes_find_themselves_carries_their_name_and_what_should_be_equal_is_compared(nodes: Nodes) -> None:
    for name, version in zip(NAMES, ("7.2", "7.2", "8.0"), strict=True):
        nodes.lines[name].append({"topic": "versions", "text": f"qemu {version}", "same": version})
    nodes.lines["hv2"].append({"topic": "disk space", "text": "/var: 99 % full", "ok": False, "remedy": "make room"})
    assert findings(run(nodes)) == ["qemu differs: 7.2 (hv1, hv2); 8.0 (hv3)", "hv2: /var: 99 % full"]
