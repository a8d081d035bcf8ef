"""Every body of the first slice has the keys and types of PVC's own; keys beyond those are ours."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from pvc_core.cluster import layout
from pvc_core.model.node import NodeStats

from .fake_compute import definition
from .rig import NODE, Api, samples, shape

UUID = "f3e00da4-f261-578d-b24f-c022e6ccbf8f"
NIC = '<nic mac="52:54:00:00:00:01" source="brupstream" network="upstream"/>'

EMPTY_HERE = {"snapshots", "features", "op_features", "flags", "messages", "osd", "faults"}
"""Lists that have nothing to show yet."""


def differences(sample: Any, ours: Any, where: str = "") -> list[str]:
    """What a client of PVC would miss in `ours`: a key, or a type."""
    if "null" in (sample, ours):
        return []  # says nothing about the type
    if isinstance(sample, dict):
        if not isinstance(ours, dict):
            return [f"{where}: {ours} instead of an object"]
        if where.endswith(("node_health", "interfaces")):  # by the names of things
            sample, ours = {"*": next(iter(sample.values()))}, {"*": next(iter(ours.values()))}
        sample = {name: one for name, one in sample.items() if "," not in name}  # counts by state, like "up,in"
        missing = [f"{where}.{name} is missing" for name in sample.keys() - ours.keys()]
        return missing + [
            text
            for name in sample.keys() & ours.keys()
            for text in differences(sample[name], ours[name], f"{where}.{name}")
        ]
    if isinstance(sample, list):
        if not isinstance(ours, list):
            return [f"{where}: {ours} instead of a list"]
        if not ours and where.rpartition(".")[2] in EMPTY_HERE:
            return []
        if not ours and sample:
            return [f"{where}: nothing to compare"]
        return [text for one in ours[:2] for text in differences(sample[0], one, f"{where}[]")] if sample else []
    return [] if sample == ours else [f"{where}: {ours} instead of {sample}"]


@pytest.fixture(scope="module")
def filled(api: Api) -> httpx2.Client:
    """A cluster with one of everything; the VM runs and has statistics."""
    client = api.client()
    for path, form in (
        ("/storage/ceph/volume", {"pool": "vms", "volume": "vm00001_sda", "size": "20G"}),
        ("/storage/ceph/snapshot", {"pool": "vms", "volume": "vm00001_sda", "snapshot": "ab20260100000000"}),
        (
            "/vm",
            {
                "xml": definition("vm00001", uuid=UUID, disk="vms/vm00001_sda", more=NIC),
                "user_tags": "tag0",
                "limit": NODE,
            },
        ),
        ("/vm/vm00001/meta", {"selector": "mem", "migration_method": "live"}),
        ("/vm/vm00001/state", {"state": "start", "wait": "true"}),
    ):
        answer = client.post(path, data=form)
        assert answer.status_code == 200, answer.text
    guest = {"uuid": UUID, "cpu_time_ns": 1, "memory": {"actual": 7}, "disks": {"sda": {"rd_req": 5}}, "nics": {}}
    stats = NodeStats(node=NODE, guests={UUID: guest})
    api.rig.repository.set(layout.STATS, NODE, stats, if_version=None)
    api.rig.keeper.settle()
    return client


@pytest.mark.parametrize(
    "name",
    [
        "GET /",
        "GET /status",
        "GET /status/primary_node",
        "GET /node",
        "GET /node/hv1",
        "GET /node/hv1/daemon-state",
        "GET /node/hv1/coordinator-state",
        "GET /node/hv1/domain-state",
        "GET /node/hv1/log?lines=5",
        "GET /node/nope",
        "GET /vm",
        "GET /vm/vm00001",
        "GET /vm/vm00001/meta",
        "GET /vm/vm00001/tags",
        "GET /vm/vm00001/node",
        "GET /vm/vm00001/state",
        "GET /vm/vm00001/console?lines=5",
        "GET /vm/nope",
        "GET /storage/ceph/status",
        "GET /storage/ceph/utilization",
        "GET /storage/ceph/pool",
        "GET /storage/ceph/pool/vms",
        "GET /storage/ceph/volume",
        "GET /storage/ceph/volume/vms/vm00001_sda",
        "GET /storage/ceph/snapshot",
    ],
)
def test_same_keys_and_types(filled: httpx2.Client, name: str) -> None:
    sample = samples()[name]
    answer = filled.get(name.removeprefix("GET "))
    assert answer.status_code == sample["status"]
    assert differences(shape(sample["body"]), shape(answer.json())) == []
    if answer.status_code == 200 and name not in ("GET /", "GET /status/primary_node") and "?" not in name:
        bodies = answer.json() if isinstance(answer.json(), list) else [answer.json()]
        assert all("status" in body or "ceph_data" in body for body in bodies), "every object has its sentence"


def test_the_comparer_can_fail() -> None:
    sample = {"a": "text", "b": ["number"], "c": {"d": "bool"}}
    assert differences(sample, sample) == []
    assert sorted(differences(sample, {"a": "number", "b": [], "c": {}})) == [
        ".a: number instead of text",
        ".b: nothing to compare",
        ".c.d is missing",
    ]


def test_vm_shows_what_is_so(filled: httpx2.Client) -> None:
    vm = filled.get("/vm/vm00001").json()[0]
    assert (vm["state"], vm["node"], vm["memory"], vm["vcpu"], vm["uuid"]) == ("start", NODE, 2048, 2, UUID)
    assert vm["node_limit"] == [NODE] and vm["tags"] == [{"name": "tag0", "type": "user", "protected": False}]
    assert vm["disks"][0] == {
        "type": "rbd",
        "name": "vms/vm00001_sda",
        "dev": "sda",
        "bus": "scsi",
        "rd_req": 5,
        "rd_bytes": 0,
        "wr_req": 0,
        "wr_bytes": 0,
    }
    assert vm["networks"][0]["vni"] == "upstream" and vm["memory_stats"]["actual"] == 7
    assert vm["vnc"] == {"listen": "0.0.0.0", "port": "5900"}
    assert vm["xml"] == definition("vm00001", uuid=UUID, disk="vms/vm00001_sda", more=NIC)
    assert vm["status"] == "running"


@pytest.mark.parametrize(
    "name",
    [
        'POST /vm/vm00001/tags {"action": "add", "tag": "web"}',
        'POST /status {"state": "true"}',
        'POST /vm/vm00001/state {"state": "bogus"}',
        "POST /vm/vm00001/state {}",
        'POST /vm/nope/state {"state": "start"}',
        'POST /vm/vm00001/state {"state": "stop"}',
    ],
)
def test_same_answers_to_changes(filled: httpx2.Client, name: str) -> None:
    sample = samples()[name]
    method, path, form = name.split(" ", 2)
    answer = filled.request(method, path, data=eval(form))
    assert answer.status_code == sample["status"], answer.text
    assert differences(shape(sample["body"]), shape(answer.json())) == []
    if sample["status"] == 400 and isinstance(sample["body"]["message"], dict):
        assert answer.json()["message"] == sample["body"]["message"]


def test_flush_answers_like_pvc(filled: httpx2.Client) -> None:
    answer = filled.post("/node/hv1/domain-state", data={"state": "flush"})
    assert set(answer.json()) == {"message"} and answer.status_code == 200
    assert answer.headers["Location"].startswith("/api/v1/tasks/")
    filled.post("/node/hv1/domain-state", data={"state": "ready"})
    assert filled.get("/node/hv1/domain-state").json()["domain_state"] == "ready"


def test_task_answers_like_pvc(filled: httpx2.Client, api: Api) -> None:
    """202 with Location, then PENDING; shown among the jobs."""
    filled.post("/vm/vm00001/state", data={"state": "stop", "wait": "true"})
    answer = filled.post("/vm/vm00001/locks")
    sample = samples()["POST /vm/vm00001/locks {} (any route with Bg = task)"]
    assert answer.status_code == sample["status"] and answer.json().keys() == sample["body"].keys()
    assert answer.json()["task_name"] == "vm.flush_locks" and answer.json()["run_on"] == NODE
    id = answer.json()["task_id"]
    assert answer.headers["Location"] == f"/api/v1/tasks/{id}"
    found = filled.get(f"/tasks/{id}").json()
    assert differences(shape(samples()["GET /tasks/1a2b3c4d (queued)"]["body"]), shape(found)) == []
    assert found["state"] == "PENDING"
    jobs = filled.get("/tasks").json()
    assert jobs.keys() == {"active", "reserved", "scheduled"}
    job = next(one for one in jobs["reserved"][NODE] if one["id"] == id)
    assert differences(shape(samples()["GET /tasks"]["body"]["active"]["hv1"][0]), shape(job)) == []


def test_without_a_key(api: Api) -> None:
    sample = samples()["GET /node without key"]
    with api.client(key="") as nobody:
        answer = nobody.get("/node")
    assert answer.status_code == sample["status"]
    assert answer.json()["message"] == "X-Api-Key Authentication required."
