"""What the API answers is what its OpenAPI document says, for every GET and for every kind of change."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import jsonschema_rs
import pytest

from pvc_api_falcon.openapi import document
from pvc_api_falcon.route import JSON, Route
from pvc_api_falcon.routes import THERE
from pvc_core.cluster import layout
from pvc_core.model.fault import Fault
from pvc_core.model.node import NodeStats, NodeWanted
from pvc_core.model.storage import StorageReport

from .answered import closed, wrong_with
from .fake_compute import definition
from .rig import FUNCTIONS, NODE, Api, FunctionsPlugin, samples

UUID = "0b0b4a35-7f0e-4d63-9a0e-1d4a6f6f3a11"
NIC = '<nic mac="52:54:00:00:00:09" source="vmbr77" network="77"/>'
NAMES = {
    "node": NODE, "vm": "told", "vni": "77", "mac": "52:54:00:00:00:09", "description": "web", "pool": "vms",
    "volume": "told_sda", "snapshot": "s1", "fault_id": "F1", "osdid": "0", "key": "tester", "plugin": "storage_fake",
    "action": "scrub", "vf": "ens1f0v0",
}  # fmt: skip
STREAMS = {"/events"}
DOCUMENT: dict[str, Any] = document(THERE, "2")


def path_of(route: Route, **names: str) -> str:
    return route.path.format(**{**NAMES, **names})


@pytest.fixture(scope="module")
def full(api: Api) -> httpx2.Client:
    """One of everything there is."""
    client, osd = api.client(), samples()["GET /storage/ceph/osd"]["body"][0]
    measured = {"job": "first", "test_format": 3, "pool": "vms", "benchmark_result": {"seq_write": {}}, "at_s": 1.0}
    report = StorageReport(driver="storage_fake", osds=(osd,), benchmarks=(measured,))
    api.rig.repository.add(layout.STORAGE_REPORTS, "storage_fake", report)
    api.rig.repository.add(layout.NODE_WANTED, NODE, NodeWanted(name=NODE))
    api.rig.repository.add(layout.FAULTS, "F1", Fault(id="F1", weight=10, message="something is wrong", first_s=1.0))
    for path, form in (
        ("/network", {"vni": "77", "description": "net77", "nettype": "managed",
                      "ip4_network": "10.77.0.0/24", "ip4_gateway": "10.77.0.1",
                      "dhcp4": "true", "dhcp4_start": "10.77.0.100", "dhcp4_end": "10.77.0.199"}),
        ("/network/77/lease", {"macaddress": NAMES["mac"], "ipaddress": "10.77.0.9"}),
        ("/network/77/acl", {"description": "web", "rule": "tcp dport 80 accept", "direction": "in"}),
        ("/storage/ceph/volume", {"pool": "vms", "volume": "told_sda", "size": "1G"}),
        ("/storage/ceph/snapshot", {"pool": "vms", "volume": "told_sda", "snapshot": "s1"}),
        ("/vm", {"xml": definition("told", uuid=UUID, disk="vms/told_sda", more=NIC), "user_tags": "t"}),
        ("/vm/told/state", {"state": "start", "wait": "true"}),
    ):  # fmt: skip
        answer = client.post(path, data=form)
        assert answer.status_code == 200, answer.text
    api.rig.plugins["net_fake"], api.rig.node.actions = FunctionsPlugin({}), FUNCTIONS
    stats = NodeStats(node=NODE, guests={UUID: {"uuid": UUID, "cpu_time_ns": 1, "memory": {"actual": 7}}})
    api.rig.repository.set(layout.STATS, NODE, stats, if_version=None)
    api.rig.keeper.settle()
    return client


READ = [one for one in THERE if one.method == "GET" and not one.socket]


@pytest.mark.parametrize("route", READ, ids=lambda one: one.path)
def test_every_get_answers_as_the_document_says(full: httpx2.Client, route: Route) -> None:
    if route.path in STREAMS:
        with full.stream("GET", route.path) as answer:
            assert answer.headers["Content-Type"] in DOCUMENT["paths"][route.path]["get"]["responses"]["200"]["content"]
        return
    made = full.post("/plugin/storage_fake/scrub", data={"depth": "1"})
    answer = full.get(path_of(route, task=made.json()["task_id"]), params=ASKED.get(route.path))
    assert answer.status_code == 200, answer.text
    assert wrong_with(DOCUMENT, route, answer) == []
    assert answer.content not in (b"[]", b"{}") or route.path in EMPTY, "nothing was compared"


ASKED = {"/sriov/pf": {"node": NODE}, "/sriov/vf": {"node": NODE}}
"""What a GET cannot do without."""
EMPTY = {"/cluster/rebalance"}
"""Lists that have nothing to show here."""


@pytest.mark.parametrize("route", [one for one in THERE if "{" in one.path], ids=lambda one: f"{one.method} {one.path}")
def test_what_is_not_there_is_told_as_the_document_says(full: httpx2.Client, route: Route) -> None:
    names = dict.fromkeys(re.findall(r"\{(\w+)\}", route.path), "nope")
    answer = full.request(route.method, route.path.format(**names))
    assert 400 <= answer.status_code < 500 or (answer.status_code == 200 and "/pool/" in route.path)
    assert wrong_with(DOCUMENT, route, answer) == []


CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/status", {"state": "false"}),
    ("POST", "/node/{node}/domain-state", {"state": "ready"}),
    ("POST", "/node/{node}/coordinator-state", {"state": "primary"}),
    ("POST", "/node/{node}/fence-test", {}),
    ("POST", "/backup", {"passphrase": "a good long passphrase"}),
    ("POST", "/vm/{vm}/state", {"state": "restart"}),
    ("POST", "/vm/{vm}/node", {"action": "move", "node": NODE}),
    ("POST", "/vm/{vm}/tags", {"action": "add", "tag": "web"}),
    ("POST", "/vm/{vm}/meta", {"autostart": "true"}),
    ("PUT", "/vm/{vm}", {"xml": definition("told", uuid=UUID, disk="vms/told_sda", more=NIC)}),
    ("PUT", "/vm/{vm}/vcpu", {"vcpus": 4, "topology": "1,2,2"}),
    ("PUT", "/vm/{vm}/memory", {"memory": 1024}),
    ("POST", "/vm/{vm}/network", {"network": "net77"}),
    ("DELETE", "/vm/{vm}/network", {"macaddr": "52:54:00:00:00:09"}),
    ("DELETE", "/vm/{vm}/volume", {"volume": "vms/told_sda"}),
    ("POST", "/vm/{vm}/volume", {"volume": "vms/told_sda"}),
    ("POST", "/vm/{vm}/locks", {}),
    ("POST", "/network", {"vni": 78, "description": "n78", "nettype": "bridged"}),
    ("PUT", "/network/{vni}", {"domain": "example.org"}),
    ("POST", "/storage/ceph/pool", {"pool": "fast"}),
    ("POST", "/storage/ceph/volume/{pool}/{volume}/clone", {"new_volume": "copy"}),
    ("POST", "/plugin/{plugin}/{action}", {"depth": 3}),
    ("POST", "/key", {"name": "new", "role": "operator"}),
    ("PUT", "/faults/{fault_id}", {}),
    ("POST", "/cluster/rebalance", {}),
    ("POST", "/logout", {}),
]


@pytest.mark.parametrize(("method", "path", "given"), CHANGES, ids=lambda one: one if isinstance(one, str) else "")
def test_changes_answer_as_the_document_says(
    full: httpx2.Client, method: str, path: str, given: dict[str, Any]
) -> None:
    route = next(one for one in THERE if (one.method, one.path) == (method, path))
    answer = full.request(method, path_of(route), json=given)
    if answer.status_code == 202 or answer.status_code == 200:
        assert wrong_with(DOCUMENT, route, answer) == []
    else:
        assert wrong_with(DOCUMENT, route, answer) == [] and answer.json()["code"] == "refused", answer.text
    bad = full.request(method, path_of(route), json={"no such parameter": 1}) if not route.free else answer
    assert wrong_with(DOCUMENT, route, bad) == []


def test_an_upload_answers_as_the_document_says(full: httpx2.Client) -> None:
    full.post("/storage/ceph/volume", data={"pool": "vms", "volume": "image", "size": "1M"})
    route = next(one for one in THERE if one.upload and one.path.endswith("/upload"))
    answer = full.post(path_of(route, volume="image"), params={"image_format": "raw"}, content=b"x" * 512)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() >= set(DOCUMENT["components"]["schemas"]["TakenBody"]["required"])


def test_every_route_says_what_it_answers() -> None:
    silent = [one.path for one in THERE if one.method == "GET" and one.content_type == JSON and one.gives is None]
    assert silent == []


def test_bodies_of_pvc_1_0_fit_but_for_what_is_ours(full: httpx2.Client) -> None:
    """A sample with our own keys added is what the document says: same keys, same types."""
    for name, sample in samples().items():
        method, _, path = name.partition(" ")
        route = next((one for one in THERE if _is(one, method, path.partition("?")[0].partition(" ")[0])), None)
        if method != "GET" or route is None or route.gives is None or sample["status"] != 200 or "note" in sample:
            continue
        told = DOCUMENT["paths"][route.path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        open_ = {**_all_optional(told), "components": _all_optional(DOCUMENT["components"])}
        errors = jsonschema_rs.Draft202012Validator(closed(open_)).iter_errors(sample["body"])
        assert [f"{name}: {one.instance_path}: {one.message[:200]}" for one in errors] == []


def _is(route: Route, method: str, path: str) -> bool:
    return route.method == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route.path), path) is not None


def _all_optional(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_all_optional(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: one for name, one in schema.items() if name != "required" or not isinstance(one, list)}
    return {name: _all_optional(one) for name, one in kept.items()}


def test_the_judge_can_say_no(full: httpx2.Client) -> None:
    route = next(one for one in THERE if (one.method, one.path) == ("GET", "/vm/{vm}/state"))
    answer = full.get(path_of(route))
    lie = document(THERE, "2")
    lie["components"]["schemas"]["StateBody"]["required"].append("more")
    assert wrong_with(lie, route, answer) != []
    lie = document(THERE, "2")
    del lie["components"]["schemas"]["StateBody"]["properties"]["state"]
    assert wrong_with(lie, route, answer) != []
    del lie["paths"][route.path]["get"]["responses"]["200"]
    assert wrong_with(lie, route, answer) != []
