"""What is a fault, and whether the cluster could lose a node."""

from __future__ import annotations

from dataclasses import replace

from pvc_core.model.node import DaemonState, HealthSeen
from pvc_core.model.storage import Volume
from pvc_core.model.view import ClusterView, Kept
from pvc_core.model.vm import GuestState, VmSeen
from pvc_core.policy.admission import cannot_lose
from pvc_core.policy.faults import faults_of

from .test_placement import Cluster, describe


def test_with_room_elsewhere_each_node_may_be_lost() -> None:
    cluster = Cluster(hv1=4, hv2=4, hv3=4)
    for number in range(3):
        cluster.vm(f"vm{number}", f"hv{number + 1}", what="1024 1")
    assert cannot_lose(cluster.view, describe) == ""


def test_the_node_is_named_whose_guests_would_wait_and_those_of_low_priority_first() -> None:
    cluster = Cluster(hv1=8, hv2=4)
    cluster.vm("db", "hv1", what="3000 1", priority=5)
    cluster.vm("toy", "hv1", what="3000 1")
    assert cannot_lose(cluster.view, describe) == "the cluster could not lose hv1 (toy would wait for room)"


def test_no_node_of_a_cluster_of_one_is_missed_and_what_lives_on_one_node_only_needs_no_room() -> None:
    alone = Cluster(hv1=4)
    alone.vm("vm", "hv1")
    assert cannot_lose(alone.view, describe) == ""
    cluster = Cluster(hv1=8, hv2=1)
    cluster.volumes["vms@root"] = Volume(id="v", pool="vms", name="root", size_bytes=1, home="hv1")
    cluster.vm("pinned", "hv1", what="4096 1 vms/root")
    assert cannot_lose(cluster.view, describe) == ""


def test_a_node_that_takes_no_guests_is_no_spare_room() -> None:
    cluster = Cluster(hv1=4, hv2=4)
    cluster.vm("vm", "hv1")
    cluster.nodes["hv2"] = replace(cluster.nodes["hv2"], daemon_state=DaemonState.FENCED)
    assert "hv1" in cannot_lose(cluster.view, describe)


def seen(cluster: Cluster, **how: object) -> ClusterView:
    view = cluster.view
    record = VmSeen(uuid="vm", node="hv1", **how)
    return replace(view, vm_seen={"vm": Kept(record, 0)})


def test_each_kind_of_fault_has_its_id_and_its_sentence() -> None:
    cluster = Cluster(hv1=8, hv2=8, hv3=8)
    cluster.vm("vm", "hv1")
    cluster.nodes["hv2"] = replace(cluster.nodes["hv2"], daemon_state=DaemonState.DEAD, sentence="given up: silent")
    silent = HealthSeen(plugin="fence_ipmi", delta=10, message="the controller of hv3 does not answer")
    cluster.nodes["hv3"] = replace(cluster.nodes["hv3"], health=(silent,))
    found = faults_of(seen(cluster, failed_reason="no such volume"), describe)
    assert {id: fault.weight for id, fault in found.items()} == {
        "DEAD_NODE_HV2": 50, "NODE_PLUGIN_FENCE_IPMI_HV3": 5, "VM_FAILED_VM": 10,
    }  # fmt: skip
    assert found["VM_FAILED_VM"].message == "VM vm has failed: no such volume"
    assert found["DEAD_NODE_HV2"].message == "node hv2 is dead: given up: silent"


def test_a_node_that_is_silent_and_may_not_be_given_up_is_one() -> None:
    cluster = Cluster(hv1=8, hv2=8)
    found = faults_of(cluster.view, describe, {"hv2": "only 1 of 3 nodes are heard"})
    assert found["SILENT_NODE_HV2"].message == "node hv2 is silent and not given up: only 1 of 3 nodes are heard"
    cluster.nodes["hv2"] = replace(cluster.nodes["hv2"], daemon_state=DaemonState.DEAD)
    assert list(faults_of(cluster.view, describe, {"hv2": "x"})) == ["DEAD_NODE_HV2"]


def test_a_guest_that_keeps_ending_by_itself_is_one_also_while_it_runs() -> None:
    cluster = Cluster(hv1=8, hv2=8)
    cluster.vm("vm", "hv1")
    assert not faults_of(seen(cluster, guest=GuestState.RUNNING, crashes=2), describe)
    found = faults_of(seen(cluster, guest=GuestState.RUNNING, crashes=4, sentence="running on hv1"), describe)
    assert found["VM_CRASHING_VM"].message == "VM vm has ended by itself 4 times in a row: running on hv1"


def test_a_guest_that_waits_for_room_is_one_and_one_that_runs_is_not() -> None:
    cluster = Cluster(hv1=8, hv2=8)
    cluster.vm("vm", "hv1")
    waits = faults_of(seen(cluster, sentence="fits nowhere (hv1: it takes no guests)"), describe)
    assert list(waits) == ["VM_WAITING_VM"]
    assert not faults_of(seen(cluster, guest=GuestState.RUNNING, failed_reason="once"), describe)
