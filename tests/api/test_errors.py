"""Errors: one status for each, a stable code, a sentence, a request id, and nothing of a traceback."""

from __future__ import annotations

import httpx2
import pytest

from pvc_api_falcon import errors as own
from pvc_api_falcon.errors import BadParameters, problem
from pvc_core import errors
from pvc_core.testing.store import FakeStore

from .fake_compute import definition
from .rig import Api

TABLE = [
    (errors.Invalid("m"), 400, "invalid"),
    (errors.Exists("m"), 400, "exists"),
    (errors.Refused("m"), 400, "refused"),
    (errors.Permanent("m"), 400, "permanent"),
    (errors.NotFound("m"), 404, "not_found"),
    (errors.Conflict("m"), 409, "conflict"),
    (errors.Retry("m"), 503, "retry"),
    (errors.StoreUnavailable("m"), 503, "store_unavailable"),
    (errors.PvcError("m"), 500, "error"),
    (own.BadParameters({"a": "b"}), 400, "invalid"),
    (own.Unauthenticated("m"), 401, "unauthenticated"),
    (own.Forbidden("m"), 403, "forbidden"),
    (own.NoSuchPath("m"), 404, "no_such_path"),
    (own.NoSuchMethod("m", allow="GET"), 405, "no_such_method"),
    (own.TooSlow("m"), 408, "too_slow"),
    (own.ChangedMeanwhile("m"), 412, "changed_meanwhile"),
    (own.TooBig("m"), 413, "too_big"),
    (own.Unsupported("m"), 415, "unsupported_media_type"),
    (own.NoSocket("m"), 426, "websocket_only"),
    (own.TooMany("m"), 429, "too_many_attempts"),
    (own.Behind("m"), 400, "behind"),
    (own.NotYet("m"), 501, "not_implemented"),
    (ValueError("secret detail"), 500, "internal"),
]


@pytest.mark.parametrize(("error", "status", "code"), TABLE, ids=lambda value: type(value).__name__)
def test_every_error_has_its_status_and_code(error: Exception, status: int, code: str) -> None:
    found = problem(error, request_id="r1")
    assert (found.status, found.body["code"], found.body["request_id"]) == (status, code, "r1")
    assert found.body["message"] and "help" in found.body
    assert "secret detail" not in str(found.body)


def test_no_error_class_is_forgotten() -> None:
    kinds = {kind for module in (errors, own) for kind in vars(module).values() if isinstance(kind, type)}
    kinds = {kind for kind in kinds if issubclass(kind, errors.PvcError)}
    assert kinds == {type(error) for error, _, _ in TABLE if isinstance(error, errors.PvcError)}


def test_details() -> None:
    assert problem(errors.NotFound("m"), request_id="", missing=400).status == 400
    assert problem(errors.Retry("m", again_in_s=2.5), request_id="").headers == {"Retry-After": "3"}
    assert problem(own.NoSuchMethod("m", allow="GET, PUT"), request_id="").headers == {"Allow": "GET, PUT"}
    assert problem(BadParameters({"a": "b"}), request_id="").body["message"] == {"a": "b"}
    invalid = problem(errors.Invalid("a sentence", fields={"xml": "why"}), request_id="").body
    assert invalid["message"] == "a sentence" and invalid["fields"] == {"xml": "why"}
    assert problem(errors.StoreUnavailable("m", maybe_written=True), request_id="").body["maybe_written"] is True


def test_missing_objects(client: httpx2.Client) -> None:
    """404 for GET; what the wire has for the rest: 400 for VMs, 404 for what is below /storage."""
    for path in ("/vm/nope", "/node/nope", "/tasks/nope", "/storage/ceph/pool/nope", "/storage/ceph/volume/vms/nope"):
        assert client.get(path).status_code == 404, path
    assert client.get("/vm/nope/console").status_code == 404
    assert client.post("/vm/nope/state", data={"state": "start"}).status_code == 400
    assert client.delete("/vm/nope").status_code == 400
    assert client.put("/vm/nope", data={"xml": definition("nope")}).status_code == 404
    assert client.delete("/storage/ceph/volume/vms/nope").status_code == 404
    assert client.delete("/storage/ceph/volume/nope/nope").status_code == 404
    assert client.post("/plugin/nope/act").status_code == 404
    assert client.post("/vm/nope/state", data={"state": "start"}).json()["code"] == "not_found"


def test_an_empty_list_is_a_list(client: httpx2.Client) -> None:
    for path in ("/vm?limit=nothing-is-called-so", "/node?limit=nothing", "/storage/ceph/volume?pool=nothing"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (200, [])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/provisioner/create"),
        ("GET", "/provisioner/profile/<profile>"),
        ("POST", "/vm/<vm>/snapshot"),
    ],
)
def test_known_but_not_there_yet(client: httpx2.Client, method: str, path: str) -> None:
    answer = client.request(method, path, data={"vni": "1"} if method == "POST" else None)
    assert answer.status_code == 501 and answer.json()["code"] == "not_implemented"
    assert path.partition("/4")[0].partition("/1")[0] in answer.json()["message"]


def test_moving_on_a_single_node(client: httpx2.Client) -> None:
    client.post("/vm", data={"xml": definition("fixed")})
    answer = client.post("/vm/fixed/node", data={"action": "migrate"})
    assert answer.status_code == 400 and "only node" in answer.json()["message"]
    assert client.post("/vm/fixed/node", data={"action": "fly"}).status_code == 400


def test_no_such_path_and_method(client: httpx2.Client) -> None:
    answer = client.get("/no/such")
    assert answer.status_code == 404 and answer.json()["code"] == "no_such_path"
    answer = client.request("PATCH", "/vm")
    assert answer.status_code == 405 and set(answer.headers["Allow"].replace(" ", "").split(",")) >= {"GET", "POST"}
    assert answer.json()["code"] == "no_such_method"


@pytest.mark.parametrize("path", ["/", "/vm", "/node/hv1", "/vm/nope", "/metrics", "/docs", "/nope", "/vm?limit=("])
def test_head_is_get_without_the_body(client: httpx2.Client, api: Api, path: str) -> None:
    """RFC 9110, 9.3.2; what watches a service asks so."""
    get, head = client.get(path), client.head(path)
    kept = "Content-Type", "ETag"
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert [head.headers.get(name) for name in kept] == [get.headers.get(name) for name in kept]
    with api.client(key="") as nobody:
        assert nobody.head(path).status_code == nobody.get(path).status_code
    assert client.head("/events").status_code == 200, "and opens no stream"


def test_every_answer_has_a_request_id(client: httpx2.Client, api: Api) -> None:
    ids = [client.get(path).headers["X-Request-Id"] for path in ("/", "/vm", "/vm/nope", "/no/such")]
    assert len(set(ids)) == 4
    answer = client.get("/vm/nope")
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]


def test_a_fault_of_ours(api: Api, client: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """500, told with an id; the traceback is in the log under that id, and nowhere else."""

    def broken(*args: object) -> None:
        raise RuntimeError("internal detail")

    monkeypatch.setattr("pvc_core.services.tasks.TaskService.list", broken)
    answer = client.get("/tasks")
    assert answer.status_code == 500 and answer.json()["code"] == "internal"
    assert "internal detail" not in answer.text and "Traceback" not in answer.text
    _, more = api.rig.log.errors.pop()
    assert more["request_id"] == answer.json()["request_id"] and str(more["exc_info"]) == "internal detail"


def test_the_store_loses_an_answer(api: Api, client: httpx2.Client) -> None:
    """Nobody is told that it is not known: the services find out, and it was done once."""
    assert client.post("/vm", data={"xml": definition("once")}).status_code == 200
    before = client.get("/vm/once/state").json()["asked"]
    store = api.rig.services.vms.desk.repository.store
    assert isinstance(store, FakeStore)
    store.lose_next_answer()
    answer = client.post("/vm/once/state", data={"state": "start", "wait": "true"})
    assert (answer.status_code, answer.json()["message"]) == (200, "VM once runs.")
    assert client.get("/vm/once/state").json()["asked"] == before + 1


def test_the_store_is_away(api: Api, client: httpx2.Client) -> None:
    """Looking goes on, with the picture as it was; changing is 503; health says so."""
    assert client.get("/health").json()["ready"] is True
    api.rig.server.cut()
    try:
        looked = client.get("/node/hv1")
        assert looked.status_code == 200 and int(looked.headers["PVC-Stale"]) >= 1
        assert looked.headers["Warning"].startswith("110 ") and "ETag" not in looked.headers
        assert looked.json()[0]["stale_s"] == int(looked.headers["PVC-Stale"])
        assert client.get("/status").json()["stale_s"] >= 1
        answer = client.post("/vm", data={"xml": definition("late")})
        assert answer.status_code == 503 and answer.json()["code"] == "store_unavailable"
        assert answer.json()["message"].startswith("nothing was changed: the store has not answered this API for ")
        assert answer.json()["maybe_written"] is False
        assert int(answer.headers["Retry-After"]) >= 1
        assert client.get("/health").status_code == 503
    finally:
        api.rig.server.mend()
        api.rig.keeper.settle()
    assert api.rig.keeper.wait_until(lambda view: view.fresh, timeout_s=5)
    again = client.get("/node/hv1")
    assert "PVC-Stale" not in again.headers and "stale_s" not in again.json()[0]


def test_an_api_that_never_read_the_store_shows_nothing(
    api: Api, client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty list would say that there are no VMs."""
    monkeypatch.setattr(api.rig.keeper, "_shown", False)
    api.rig.server.cut()
    try:
        answer = client.get("/vm")
        assert answer.status_code == 503 and "nothing to show" in answer.json()["message"]
    finally:
        monkeypatch.undo()
        api.rig.server.mend()
        api.rig.keeper.settle()


def test_changes_are_logged_with_who_asked(api: Api, client: httpx2.Client) -> None:
    client.post("/vm", data={"xml": definition("logged")})
    event, more = api.rig.log.infos[-1]
    assert (event, more["method"], more["path"], more["status"], more["by"]) == (
        "request",
        "POST",
        "/api/v1/vm",
        200,
        "tester",
    )


def test_etag_guards_against_lost_updates(client: httpx2.Client) -> None:
    client.post("/vm", data={"xml": definition("both")})
    read = client.get("/vm/both").headers["ETag"]
    mine = {"xml": definition("both", memory_mib=4096)}
    assert client.put("/vm/both", data=mine, headers={"If-Match": read}).status_code == 200
    answer = client.put("/vm/both", data={"xml": definition("both", memory_mib=512)}, headers={"If-Match": read})
    assert answer.status_code == 412 and "tester" in answer.json()["message"]
    assert client.get("/vm/both").json()[0]["memory"] == 4096
    assert client.put("/vm/both", data=mine).status_code == 200
    assert client.put("/vm/both", data=mine, headers={"If-Match": "*"}).status_code == 200
