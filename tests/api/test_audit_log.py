"""The audit log: every change with who, what, when, from where and its result; bounded, and few writes."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from marshmallow import Schema, fields

from pvc_api_falcon.auditing import shown
from pvc_core.cluster import layout
from pvc_core.errors import StoreUnavailable
from pvc_core.model.audit import AuditEntry
from pvc_core.model.storage import Pool
from pvc_core.services.audit import PAGE_MAX, PAGES, AuditService

from .fake_compute import definition
from .rig import Api, Rig


def last(client: httpx2.Client, **params: Any) -> list[dict[str, Any]]:
    answer = client.get("/audit", params=params)
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()
    return found


def test_a_change_is_kept_with_all_there_is_to_say(api: Api, client: httpx2.Client) -> None:
    made = client.post("/vm", data={"xml": definition("audited")})
    newest = last(client)[0]
    assert newest["request_id"] == made.headers["X-Request-Id"]
    assert (newest["by"], newest["role"], newest["source"]) == ("tester", "admin", "127.0.0.1")
    assert newest["action"] == "POST /vm" and newest["status"] == 200 and "audited is defined" in newest["result"]
    assert "characters" in newest["args"] and "<domain>" not in newest["args"]
    assert newest["at_s"] > 1e9 and newest["at"].startswith("20")


def test_what_was_refused_is_kept_too(api: Api, client: httpx2.Client) -> None:
    client.post("/vm/nope/state", data={"state": "start"})
    assert (last(client)[0]["status"], last(client)[0]["args"]) == (400, "state=start")
    key = api.rig.services.keys.add("peeper", "read-only")
    api.rig.keeper.settle()
    with api.client(key=key) as peeper:
        peeper.delete("/vm/audited")
    assert (last(client)[0]["by"], last(client)[0]["status"]) == ("peeper", 403)
    assert [entry["by"] for entry in last(client, limit="^peeper$")] == ["peeper"]


def test_looking_and_guessing_leave_nothing(api: Api, client: httpx2.Client) -> None:
    before = last(client, lines=10_000)
    client.get("/vm")
    with api.client(key="wrong.key") as guesser:
        guesser.post("/vm", data={"xml": definition("guessed")})
    assert last(client, lines=10_000) == before


def test_the_socket_is_a_place_too(api: Api, client: httpx2.Client) -> None:
    with api.local() as local:
        local.post("/vm", data={"xml": definition("locally")})
    assert (last(client)[0]["by"], last(client)[0]["source"]) == ("local", "local")


def test_no_secret_is_kept(client: httpx2.Client) -> None:
    client.post("/backup", data={"passphrase": "correct horse"})
    client.post("/plugin/storage_fake/scrub", data={"depth": "7", "pin": "1234"})
    made = client.post("/key", data={"name": "kept-secret", "role": "operator"}).json()["key"]
    text = client.get("/audit").text
    assert "correct horse" not in text and "1234" not in text and made not in text and "kept-secret" in text
    args = {"api_key": "x", "xml": "y" * 9, "wait": False, "node": "hv1"}
    assert shown(args) == "api_key=*** xml=(9 characters) node=hv1"
    assert shown({"user_data": "#cloud-config\npassword: x"}) == "user_data=(25 characters)", "a guest's first password"


class Secretive(Schema):
    shared = fields.Boolean(load_default=True)
    password = fields.String(metadata={"secret": True})


def test_a_pools_secret_option_is_shown_to_nobody(
    rig: Rig, client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    definitions: Any = rig.services.desk.storage["storage_fake"]
    monkeypatch.setattr(definitions, "pool_options", Secretive, raising=False)
    monkeypatch.setattr(definitions, "_options", Secretive())
    pool = Pool(name="far", driver="storage_fake", options={"password": "hunter2", "shared": "true"})
    rig.repository.add(layout.POOLS, "far", pool)
    rig.keeper.settle()
    for path in ("/storage/ceph/pool", "/storage/ceph/pool/far"):
        text = client.get(path).text
        assert "hunter2" not in text and "password" in text
    assert rig.keeper.view.pools["far"].value.options["password"] == "hunter2"
    assert shown({"option": {"user": "pvc", "password": "hunter2"}}) == "option={user=pvc password=***}"


def entry(number: int) -> AuditEntry:
    return AuditEntry(at_s=float(number), by="me", role="admin", source="here", action="X", request_id=f"r{number}")


def test_it_is_bounded_and_costs_few_writes(rig: Rig) -> None:
    audit = AuditService(rig.services.desk, "hv9")
    for number in range((PAGES + 2) * PAGE_MAX):
        audit.note(entry(number))
        if number % PAGE_MAX == PAGE_MAX - 1:
            audit.flush()
    pages = [kept for kept in rig.repository.all(layout.AUDIT).values() if kept.value.node == "hv9"]
    assert len(pages) == PAGES and all(len(kept.value.entries) == PAGE_MAX for kept in pages)
    assert sum(kept.version + 1 for kept in pages) <= PAGES + 4, "a page was written again and again"
    mine = [one for one in audit.list(count=10_000) if one.source == "here"]
    assert [one.at_s for one in mine] == [float(number) for number in reversed(range(2 * PAGE_MAX, 22 * PAGE_MAX))]


def test_another_process_of_the_same_node_goes_on_where_it_ended(rig: Rig) -> None:
    first, second = AuditService(rig.services.desk, "hv8"), AuditService(rig.services.desk, "hv8")
    first.note(entry(1))
    first.flush()
    second.note(entry(2))
    second.flush()
    first.note(entry(3))  # it does not know of the second's writing
    first.flush()
    kept = rig.repository.get(layout.AUDIT, "hv8@00").value
    assert [one.at_s for one in kept.entries] == [1, 2, 3]


def test_what_the_store_did_not_take_waits(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = AuditService(rig.services.desk, "hv7")
    audit.note(entry(1))
    real = type(rig.services.desk.repository).save

    def written_but_not_told(*args: Any) -> Any:
        real(*args)
        raise StoreUnavailable("no answer", maybe_written=True)

    monkeypatch.setattr(type(rig.services.desk.repository), "save", written_but_not_told)
    with pytest.raises(StoreUnavailable):
        audit.flush()
    monkeypatch.undo()
    audit.note(entry(2))
    audit.flush()
    assert [one.at_s for one in rig.repository.get(layout.AUDIT, "hv7@00").value.entries] == [1, 2], "once each"
