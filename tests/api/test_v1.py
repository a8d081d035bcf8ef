"""Every method of PVC 1.0's API v1 (v1.tsv) is here: its parameters by their names, in all three places alike, its
values, 202 where a task is promised; and 501 only for what this version has said it has not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from marshmallow import fields, validate

from pvc_api_falcon.fields import Several
from pvc_api_falcon.route import Route
from pvc_api_falcon.routes import ROUTES
from pvc_api_falcon.routes.pending import ROUTES as NOT_YET

from .fake_compute import definition
from .rig import NODE, Api

LATER = re.compile(r"/provisioner|/vm/(autobackup|automirror)$|/vm/\{vm\}/(snapshot|mirror|backup|restore)\b")
"""What answers 501, and nothing else."""


@dataclass(frozen=True)
class Row:
    method: str
    path: str
    task: bool
    parameters: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return [re.split(r"[*+=]", one)[0] for one in self.parameters]

    @property
    def route(self) -> Route:
        plain = re.sub(r"\{\w+\}", "{}", self.path)
        return next(one for one in ROUTES if (one.method, re.sub(r"\{\w+\}", "{}", one.path)) == (self.method, plain))


def rows() -> list[Row]:
    text = (Path(__file__).parent / "v1.tsv").read_text()
    split = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return [Row(one[0], one[1], one[2] == "task", tuple(one[3].split()) if one[3] != "-" else ()) for one in split]


V1 = rows()
HERE = [row for row in V1 if not LATER.search(row.path)]


def ident(row: Row) -> str:
    return f"{row.method} {row.path}"


def test_all_of_it_is_known() -> None:
    assert len(V1) == 179
    assert [ident(row) for row in V1 if not any(_same(row, route) for route in ROUTES)] == []


def _same(row: Row, route: Route) -> bool:
    return route.method == row.method and re.sub(r"\{\w+\}", "{}", route.path) == re.sub(r"\{\w+\}", "{}", row.path)


def test_501_only_for_what_comes_later() -> None:
    assert {(one.method, one.path) for one in NOT_YET if not LATER.search(one.path)} == set()
    assert all(any(_same(row, one) for row in V1) for one in NOT_YET)


@pytest.mark.parametrize("row", HERE, ids=ident)
def test_parameters_have_their_names_values_and_need(row: Row) -> None:
    route = row.route
    assert route.task is row.task
    known = {field.data_key or name: field for name, field in route.takes().load_fields.items()} if route.takes else {}
    if row.path == "/logout":
        return
    assert [name for name in row.names if name not in known] == []
    must = {name for name, one in zip(row.names, row.parameters, strict=True) if "*" in one}
    required = {name for name, field in known.items() if field.required}
    assert required <= must | SENSELESS_WITHOUT.get(row.path, set()), "who left it out before still may"
    for name, one in zip(row.names, row.parameters, strict=True):
        if "+" in one:
            assert isinstance(known[name], Several)
        if "=" in one:
            assert [word for word in one.partition("=")[2].split("|") if not _takes(known[name], word)] == []


SENSELESS_WITHOUT = {"/login": {"token"}, "/vm/{vm}/tags": {"action", "tag"}, "/vm/{vm}/rename": {"new_name"}}


def _takes(field: fields.Field, word: str) -> bool:
    choices = [rule for rule in field.validators if isinstance(rule, validate.OneOf)]
    return not choices or word in choices[0].choices


CHANGES = [row for row in HERE if row.method != "GET" and not row.route.upload and row.names]


@pytest.mark.parametrize("row", CHANGES, ids=ident)
def test_query_form_and_json_alike(client: httpx2.Client, row: Row) -> None:
    """Of something that is not there, so that nothing changes; what each way is told is the same."""
    path = re.sub(r"\{\w+\}", "nope", row.path)
    given = {name: VALUES.get(name, "nope") for name in row.names if name not in OPTIONAL}
    if row.path in DONE_AT_ONCE:
        given = {name: "no such word" for name in given}
    ways: list[dict[str, Any]] = [{"params": given}, {"data": given}, {"json": given}]
    answers = [client.request(row.method, path, **way) for way in ways]
    told = [(one.status_code, one.json()["message"], one.json()["code"]) for one in answers]
    assert told[0] == told[1] == told[2]
    assert 400 <= told[0][0] < 500


DONE_AT_ONCE = {"/status", "/login", "/initialize", "/storage/ceph/pool/{pool}", "/storage/ceph/pool"}
"""These need nothing that could be missing: they get wrong values."""
OPTIONAL = {"overwrite", "ext_db_ratio", "weight", "new_size", "osd_count"}
VALUES = {
    "yes-i-really-mean-it": "yes-i-really-mean-it", "state": "start", "action": "add", "xml": "<domain/>", "vni": "9",
    "size": "1G", "pgs": "1", "order": "0", "migration_max_downtime": "300", "cluster_data": "{}", "wait": "false",
}  # fmt: skip


@pytest.mark.parametrize("row", CHANGES, ids=ident)
def test_two_values_in_two_places_are_refused(client: httpx2.Client, row: Row) -> None:
    path, name = re.sub(r"\{\w+\}", "nope", row.path), row.names[0]
    if isinstance(row.route.takes().load_fields.get(name), Several):
        name = next(one for one in row.names if one != name)
    for body in ({"data": {name: "b"}}, {"json": {name: "b"}}):
        answer = client.request(row.method, path, params={name: "a"}, **body)
        assert answer.status_code == 400
        assert answer.json()["message"] == {name: "given twice, with different values"}


# -- a client of PVC 1.0 -----------------------------------------------------------------------------------------------


def test_a_client_of_pvc_1_0_does_its_day(api: Api) -> None:
    """Parameters in the query where PVC 1.0's client has them there, bodies as forms, booleans as Python prints them,
    empty values for what was not given; it looks at `message`, and at `task_id` of a 202.
    """
    client = api.client(timeout_s=60)

    def call(method: str, path: str, params: dict[str, Any] | None = None, data: dict[str, Any] | None = None) -> Any:
        answer = client.request(method, path, params=params, data=data)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    call("POST", "/status", params={"state": "True"})
    call("POST", "/status", params={"state": "False"})
    net = {"vni": 1234, "description": "old", "nettype": "managed", "domain": "", "ip4_network": "", "dhcp4": False}
    call("POST", "/network", params=net)
    assert call("GET", "/network", params={"limit": "1234"})[0]["description"] == "old"
    call("POST", "/storage/ceph/volume", params={"volume": "old_sda", "pool": "vms", "size": "1G", "force": False})
    vm = {"xml": definition("oldie", disk="vms/old_sda")}
    meta = {"node": NODE, "limit": "", "selector": "none", "autostart": False, "migration_method": "none"}
    more = {"migration_max_downtime": 300, "user_tags": ["one", "two"], "protected_tags": []}
    call("POST", "/vm", params={**meta, **more}, data=vm)
    found = call("GET", "/vm", params={"limit": "oldie", "negate": False, "node": "", "state": "", "tag": "one"})
    assert [one["name"] for one in found] == ["oldie"]
    call("POST", "/vm/oldie/state", params={"state": "start", "force": False, "wait": True})
    assert call("GET", "/vm/oldie/state")["state"] == "start"
    call("PUT", "/vm/oldie", data={**vm, "restart": False})
    call("POST", "/vm/oldie/tags", params={"action": "add", "tag": "three", "protected": True})
    call("POST", "/vm/oldie/state", params={"state": "stop", "wait": "True"})
    locks = client.post("/vm/oldie/locks")
    assert locks.status_code == 202 and call("GET", f"/tasks/{locks.json()['task_id']}")["state"] == "PENDING"
    call("DELETE", "/vm/oldie", params={"delete_disks": True})
    missing = client.get("/vm", params={"limit": "oldie"})
    assert (missing.status_code, missing.json()) == (200, [])
    call("DELETE", "/network/1234")


def test_a_browser_session_of_pvc_1_0(api: Api) -> None:
    with api.client(key="") as browser:
        assert browser.post("/login", data={"token": "wrong"}).status_code == 401
        assert browser.post("/login", data={"token": api.key}).status_code == 200
        assert browser.get("/node").status_code == 200
        browser.post("/logout")
        assert browser.get("/node").status_code == 401
