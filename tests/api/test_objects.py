"""What each noun does, from beginning to end: VMs, pools, volumes, snapshots, nodes, plugins, the cluster."""

from __future__ import annotations

import httpx2
import pytest

from .fake_compute import definition
from .rig import Api


def ok(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["message"])


def test_a_vms_life(client: httpx2.Client) -> None:
    assert "life" in ok(
        client.post("/vm", data={"xml": definition("life"), "user_tags": ["a"], "protected_tags": ["keep"]})
    )
    before = client.get("/vm/life/state").json()
    assert before["state"] == "stop"
    assert "runs" in ok(client.post("/vm/life/state", data={"state": "start", "wait": "true"}))
    assert client.get("/vm/life/state").json()["asked"] == before["asked"] + 1, "who lost the answer sees it was taken"
    place = client.get("/vm/life/node").json()
    assert (place["node"], place["answered"], place["not_moved"]) == ("hv1", True, "")
    assert place["asked"] == before["asked"] + 1
    assert client.get("/node/hv1").json()[0]["running_domains"].count("life") == 1
    assert "restarted" in ok(client.post("/vm/life/state", data={"state": "restart", "wait": "1"}))
    assert client.post("/vm/life/rename", data={"new_name": "death"}).status_code == 400
    assert "off" in ok(client.post("/vm/life/state", data={"state": "stop", "wait": "yes"}))
    assert client.post("/vm/life/state", data={"state": "shutdown"}).status_code == 400
    ok(client.put("/vm/life", data={"xml": definition("life", memory_mib=512)}))
    assert client.get("/vm/life").json()[0]["memory"] == 512
    ok(client.post("/vm/life/tags", data={"action": "remove", "tag": "a"}))
    assert client.post("/vm/life/tags", data={"action": "remove", "tag": "keep"}).json()["code"] == "refused"
    ok(client.post("/vm/life/meta", data={"limit": "hv1", "autostart": "true", "profile": "small"}))
    assert client.get("/vm/life/meta").json()["node_limit"] == ["hv1"]
    ok(client.post("/vm/life/meta", data={"limit": ""}))
    meta = client.get("/vm/life/meta").json()
    assert (meta["node_limit"], meta["node_autostart"], meta["profile"]) == (None, "True", "small")
    ok(client.post("/vm/life/meta", data={"priority": "7"}))
    assert client.get("/vm/life/meta").json()["priority"] == client.get("/vm/life").json()[0]["priority"] == 7
    assert client.post("/vm/life/meta", data={"priority": "1001"}).status_code == 400
    assert client.post("/vm/life/meta").status_code == 400
    assert client.post("/vm/life/meta", data={"limit": "nohost"}).status_code == 400
    ok(client.post("/vm/life/rename", data={"new_name": "death"}))
    assert client.get("/vm/life").status_code == 404
    ok(client.post("/vm/death/state", data={"state": "disable"}))
    assert client.get("/vm?state=disable").json()[0]["name"] == "death"
    assert "death" in ok(client.delete("/vm/death", params={"delete_disks": "false"}))
    assert client.get("/vm/death").status_code == 404


def test_devices_of_a_running_guest(client: httpx2.Client) -> None:
    client.post("/vm", data={"xml": definition("plug")})
    device = {"xml": '<disk dev="sdb" volume="vms/x"/>'}
    assert client.post("/vm/plug/device", data=device).json()["code"] == "refused"
    client.post("/vm/plug/state", data={"state": "start", "wait": "true"})
    answer = client.post("/vm/plug/device", data=device)
    assert (answer.status_code, answer.json()["task_name"]) == (202, "vm.device_attach")
    answer = client.request("DELETE", "/vm/plug/device", data=device)
    assert (answer.status_code, answer.json()["task_name"]) == (202, "vm.device_detach")
    assert client.post("/vm/plug/device", data={"xml": "<cpu/>"}).status_code == 400
    assert client.post("/vm/plug/device").json()["message"].keys() == {"xml"}


def test_storage_from_pool_to_snapshot(client: httpx2.Client) -> None:
    pool, volume, snapshot = "/storage/ceph/pool", "/storage/ceph/volume", "/storage/ceph/snapshot"
    form = {"pool": "fast", "pgs": "64", "replcfg": "copies=3,mincopies=2", "tier": "nvme", "option": "shared=true"}
    client.post(pool, data=form | {"driver": "storage_fake"})
    found = client.get(f"{pool}/fast").json()[0]
    assert (found["pgs"], found["tier"], found["driver"], found["options"]) == (
        "64",
        "nvme",
        "storage_fake",
        {"shared": "true"},
    )
    assert "128" in ok(client.put(f"{pool}/fast", data={"pgs": "128"}))
    ok(client.post(f"{volume}/fast/disk", data={"size": "1G"}))
    ok(client.post(volume, json={"pool": "fast", "volume": "disk2", "size": 1073741824}))
    assert client.post(volume, data={"pool": "fast", "volume": "disk", "size": "1G"}).json()["code"] == "exists"
    ok(client.put(f"{volume}/fast/disk", data={"new_size": "2G"}))
    assert client.get(f"{volume}/fast/disk").json()[0]["stats"]["size"] == "2G"
    assert client.put(f"{volume}/fast/disk", data={"new_size": "1G"}).json()["code"] == "refused"
    ok(client.put(f"{volume}/fast/disk2", data={"new_name": "other"}))
    ok(client.post(f"{volume}/fast/disk/clone", data={"new_volume": "copy"}))
    ok(client.post(f"{volume}/fast/disk/scan"))
    assert [one["name"] for one in client.get(volume, params={"pool": "fast"}).json()] == ["copy", "disk", "other"]
    ok(client.post(snapshot, data={"pool": "fast", "volume": "disk", "snapshot": "s1"}))
    ok(client.post(f"{snapshot}/fast/disk/s2"))
    ok(client.put(f"{snapshot}/fast/disk/s2", data={"new_name": "s3"}))
    assert [one["snapshot"] for one in client.get(snapshot, params={"pool": "fast", "volume": "disk"}).json()] == [
        "s1",
        "s3",
    ]
    assert client.get(f"{snapshot}/fast/disk/s3").json()[0]["stats"]["size"] == 2 * 2**30
    ok(client.post(f"{snapshot}/fast/disk/s1/rollback"))
    ok(client.delete(f"{snapshot}/fast/disk/s1"))
    assert client.get(f"{snapshot}/fast/disk/s1").status_code == 404
    assert client.delete(f"{snapshot}/fast/disk/s1").status_code == 404
    ok(client.delete(f"{volume}/fast/copy"))
    assert client.delete(f"{pool}/fast").json()["message"].keys() == {"yes-i-really-mean-it"}
    ok(client.request("DELETE", f"{pool}/fast", data={"yes-i-really-mean-it": "yes-i-really-mean-it"}))
    assert client.get(f"{pool}/fast").status_code == 404


def test_a_pool_that_a_vm_names_stays_whole(client: httpx2.Client) -> None:
    really = {"data": {"yes-i-really-mean-it": "yes-i-really-mean-it"}}
    ok(client.post("/storage/ceph/pool", data={"pool": "fast", "option": "shared=true", "driver": "storage_fake"}))
    for name in ("aaa", "root"):
        ok(client.post("/storage/ceph/volume", data={"pool": "fast", "volume": name, "size": "1G"}))
    ok(client.post("/vm", data={"xml": definition("user", disk="fast/root")}))
    answer = client.request("DELETE", "/storage/ceph/pool/fast", **really)
    assert answer.status_code == 400 and answer.json()["code"] == "refused"
    assert "volume fast/root is used by VM user" in answer.json()["message"]
    assert [one["name"] for one in client.get("/storage/ceph/volume?pool=fast").json()] == ["aaa", "root"]
    ok(client.delete("/vm/user", params={"delete_disks": "false"}))
    ok(client.request("DELETE", "/storage/ceph/pool/fast", **really))
    assert client.get("/storage/ceph/volume?pool=fast").json() == []


def test_a_volume_in_use_stays(client: httpx2.Client) -> None:
    ok(client.post("/storage/ceph/volume", data={"pool": "vms", "volume": "root", "size": "1G"}))
    ok(client.post("/vm", data={"xml": definition("user", disk="vms/root")}))
    answer = client.delete("/storage/ceph/volume/vms/root")
    assert answer.status_code == 400 and "user" in answer.json()["message"]
    assert client.get("/storage/ceph/volume/vms/root").json()[0]["users"] == ["user"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 1), ("limit=hv", 1), ("limit=hv2", 0), ("daemon_state=run", 1), ("daemon_state=stop", 0),
        ("daemon_state=run&domain_state=flushed", 0), ("coordinator_state=primary&daemon_state=run", 1),
    ],
)  # fmt: skip
def test_node_filters_must_all_hold(client: httpx2.Client, query: str, count: int) -> None:
    assert len(client.get(f"/node?{query}").json()) == count


def test_the_only_coordinator_stays_primary(client: httpx2.Client) -> None:
    assert client.post("/node/hv1/coordinator-state", data={"state": "primary"}).status_code == 200
    assert (
        "only coordinator" in client.post("/node/hv1/coordinator-state", data={"state": "secondary"}).json()["message"]
    )
    assert client.post("/node/hv1/coordinator-state", data={"state": "king"}).status_code == 400


def test_maintenance_says_who_and_how_long_with_every_answer(client: httpx2.Client) -> None:
    assert "pvc-maintenance" not in client.get("/node").headers
    said = client.post("/status", params={"state": "true", "for": "2h", "reason": "neue Schränke"}).json()["message"]
    assert said == "Maintenance mode is on for 2 h."
    sentence = client.get("/vm/nothing").headers["pvc-maintenance"]
    assert "asked for by tester (neue Schr?nke); ends by itself in about 2 h" in sentence
    status = client.get("/status").json()
    assert status["maintenance_detail"]["reason"] == "neue Schränke" and status["maintenance_detail"]["left_s"] == 7200
    assert status["status"] == sentence.replace("?", "ä")
    several = client.post("/status", params={"state": "true", "reason": "two\r\nlines: yes"})
    assert "(two??lines: yes); until" in several.headers["pvc-maintenance"] and "lines" not in several.headers
    assert client.post("/status", params={"state": "true", "for": "soon"}).status_code == 400
    assert client.post("/status", params={"state": "false", "for": "1h"}).status_code == 400
    assert "pvc-maintenance" not in client.post("/status", params={"state": "false"}).headers


def test_maintenance(client: httpx2.Client) -> None:
    ok(client.post("/status", data={"state": "true"}))
    assert client.get("/status").json()["maintenance"] == "true"
    ok(client.post("/status", json={"state": "false"}))
    assert client.get("/status").json()["maintenance"] == "false"


def test_plugins_and_their_actions(client: httpx2.Client, api: Api) -> None:
    found = client.get("/plugin").json()[0]
    assert (found["name"], found["state"], found["api_range"]) == ("storage_fake", "active", [1, 1])
    assert found["actions"] == [{"name": "scrub", "help": "Reads everything.", "where": "primary"}]
    for given in ({"data": {"depth": "3"}}, {"json": {"depth": 3}}, {"params": {"depth": "3"}}):
        answer = client.post("/plugin/storage_fake/scrub", **given)
        assert (answer.status_code, answer.json()["run_on"]) == (202, "hv1"), answer.text
        task = api.rig.services.tasks.get(answer.json()["task_id"])
        assert task.args["action"] == "scrub" and str(task.args["args"]["depth"]) == "3"
    answer = client.post("/plugin/storage_fake/scrub", json={"deep": 1})
    assert answer.status_code == 400 and answer.json()["fields"].keys() == {"depth", "deep"}
    assert "depth" not in client.get("/tasks").text, "what an action was given may be secret"


def test_whether_a_node_could_be_fenced(client: httpx2.Client, api: Api) -> None:
    found = client.post("/node/hv1/fence-test").json()
    assert found["passed"] and found["message"] == "Node hv1 could be fenced."
    assert [step["step"] for step in found["steps"]] == ["record", "login"]
    assert found["steps"][0] == {
        "node": "hv1", "driver": "fence_ipmi", "step": "record", "passed": True, "message": "hv1 is on record",
    }  # fmt: skip
    api.rig.node.bmc_answers = False
    try:
        found = client.post("/node/hv1/fence-test").json()
    finally:
        api.rig.node.bmc_answers = True
    assert not found["passed"] and found["message"] == "Node hv1 could not be fenced by hv1."
    assert client.post("/node/hv9/fence-test").status_code == 404


def test_no_vm_is_called_like_the_uuid_of_one(client: httpx2.Client) -> None:
    """Names are looked for first: whoever means the other VM by its UUID would get this one."""
    uuid = "2b57194c-777e-54d9-9dee-6a6bada3c400"
    for name in (uuid, uuid.upper()):
        answer = client.post("/vm", data={"xml": definition(name)})
        assert (answer.status_code, "it is a UUID" in answer.json()["message"]) == (400, True)
    ok(client.post("/vm", data={"xml": definition("modest")}))
    assert client.post("/vm/modest/rename", data={"new_name": uuid}).status_code == 400
    ok(client.post("/vm/modest/rename", data={"new_name": uuid.replace("-", "")}))
    ok(client.delete(f"/vm/{uuid.replace('-', '')}"))
