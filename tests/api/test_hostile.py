"""Whatever comes in: a 4xx with a sentence, never a 5xx, never a traceback, never a half-made object."""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pvc_api_falcon.route import Route
from pvc_api_falcon.routes import THERE
from pvc_api_falcon.routes.pending import PENDING

from .fake_compute import definition
from .rig import Api, Rig, running

NAMES = ["a/b", "..", ".", "a\nb", "ü", "", "x" * 300, "-a", "a b", "a;b", "\0", "名", "%00", "a@b", "$(id)", "'\"", "‮"]


def no(answer: httpx2.Response) -> dict[str, Any]:
    """It is a 4xx with a sentence."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    body: dict[str, Any] = answer.json()
    assert body["message"] and body["code"] and "Traceback" not in answer.text
    return body


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_hostile_names(client: httpx2.Client, rig: Rig, name: str) -> None:
    before = len(rig.keeper.view.vm_wanted), len(rig.keeper.view.volumes), len(rig.keeper.view.pools)
    quoted = quote(name, safe="").replace(".", "%2E")  # else the client would resolve them
    for path in (
        f"/vm/{quoted}/state",
        f"/vm/{quoted}/console",
        f"/storage/ceph/volume/vms/{quoted}",
        f"/node/{quoted}/log",
    ):
        no(client.get(path))
    escaped = name.replace("&", "&amp;").replace("<", "&lt;").replace("\0", "")
    no(client.post("/vm", data={"xml": definition(escaped)}))
    no(client.post("/storage/ceph/pool", data={"pool": name, "pgs": "1"}))
    no(client.post("/storage/ceph/volume", data={"pool": "vms", "volume": name, "size": "1G"}))
    no(client.post("/vm/nope/tags", data={"action": "add", "tag": name}))
    assert (len(rig.keeper.view.vm_wanted), len(rig.keeper.view.volumes), len(rig.keeper.view.pools)) == before


@pytest.mark.parametrize(
    "xml",
    [
        "", "garbage", "<domain>", "<domain/>", "<domain><name/></domain>", "<a>" * 5000, "\0",
        "<domain><name>x</name></domain>",
        definition("big", memory_mib=10**9), definition("disky", disk="vms/no-such"), definition("u", uuid="no-uuid"),
        definition("neg", memory_mib=-5), '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "b">]><domain>&a;</domain>',
    ],
    ids=lambda xml: f"{xml[:12]!a}-{len(xml)}",
)  # fmt: skip
def test_bad_definitions(client: httpx2.Client, rig: Rig, xml: str) -> None:
    before = dict(rig.keeper.view.vm_wanted)
    no(client.post("/vm", data={"xml": xml}))
    no(client.post("/vm", json={"xml": xml}))
    assert dict(rig.keeper.view.vm_wanted) == before


def test_names_and_uuids_that_are_taken(client: httpx2.Client) -> None:
    uuid = "2b57194c-777e-54d9-9dee-6a6bada3c400"
    assert client.post("/vm", data={"xml": definition("first", uuid=uuid)}).status_code == 200
    assert no(client.post("/vm", data={"xml": definition("first")}))["code"] == "exists"
    assert no(client.post("/vm", data={"xml": definition("second", uuid=uuid)}))["code"] == "exists"
    assert "first" in no(client.post("/vm/third", data={"xml": definition("first")}))["message"]["xml"]
    client.post("/vm", data={"xml": definition("other")})
    no(client.put("/vm/other", data={"xml": definition("other", uuid=uuid)}))
    no(client.put("/vm/other", data={"xml": definition("renamed")}))


def test_what_cannot_be(client: httpx2.Client) -> None:
    no(client.post("/storage/ceph/volume", data={"pool": "vms", "volume": "huge", "size": "100T"}))
    no(client.post("/storage/ceph/volume", data={"pool": "vms", "volume": "v", "size": "9" * 30}))
    no(client.post("/storage/ceph/pool", data={"pool": "p", "driver": "nope"}))
    no(client.post("/storage/ceph/pool", data={"pool": "p", "option": "no=such"}))
    no(client.put("/storage/ceph/volume/vms/nope", data={"new_size": "1G", "new_name": "x"}))
    no(client.delete("/storage/ceph/pool/vms"))
    no(client.post("/vm/nope/node", data={"action": "migrate"}))
    no(client.post("/plugin/storage_fake/scrub", data={"depth": "deep"}))
    no(client.post("/plugin/storage_fake/nope"))


@pytest.mark.parametrize("limit", ["(", "*", "(a+)+", "x" * 257, "[", "(?=a)", "\\", "a{99999}"])
def test_filters_that_are_none(client: httpx2.Client, limit: str) -> None:
    for path in ("/vm", "/node", "/storage/ceph/pool", "/storage/ceph/volume", "/storage/ceph/snapshot"):
        no(client.get(path, params={"limit": limit}))


def test_ten_megabytes_of_xml(client: httpx2.Client, api: Api) -> None:
    """Refused at once, by what it says of its length; the connection is not read on."""
    assert no(client.post("/vm", data={"xml": "x" * 10_000_000}))["code"] == "too_big"
    with socket.create_connection(("127.0.0.1", api.frontend.port), timeout=5) as raw:
        began = time.monotonic()
        head = f"POST /api/v1/vm HTTP/1.1\r\nHost: x\r\nX-Api-Key: {api.key}\r\nContent-Type: application/json\r\n"
        raw.sendall(f"{head}Content-Length: 10000000000\r\n\r\n".encode() + b"x" * 10)
        answer = raw.recv(65536)
        assert answer.startswith(b"HTTP/1.1 413") and b"connection: close" in answer.lower()
        assert time.monotonic() - began < 1.0


def test_a_client_that_sends_all_before_it_reads_gets_its_answer(api: Api) -> None:
    """The server has answered long before; its answer must outlast all that comes after."""
    for body in (10_000_000, 40_000_000):
        with socket.create_connection(("127.0.0.1", api.frontend.port), timeout=30) as raw:
            raw.sendall(_head(api) + f"Content-Length: {body}\r\n\r\n".encode())
            for _ in range(body // 100_000):
                raw.sendall(b"x" * 100_000)
            assert _all_of(raw).startswith(b"HTTP/1.1 413")


def test_a_body_without_end_is_cut_off(rig: Rig, tmp_path: Path) -> None:
    with running(rig, tmp_path, linger_bytes=4_000_000) as api:
        with socket.create_connection(("127.0.0.1", api.frontend.port), timeout=5) as raw:
            raw.sendall(_head(api) + b"Transfer-Encoding: chunked\r\n\r\n")
            with pytest.raises(OSError):
                for _ in range(1000):
                    raw.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                raise AssertionError("it took 65 MB of a body without an end")
    with running(rig, tmp_path, linger_s=0.3) as api:
        with socket.create_connection(("127.0.0.1", api.frontend.port), timeout=5) as raw:
            raw.sendall(_head(api) + b"Content-Length: 10000000000\r\n\r\n")
            with pytest.raises(OSError):
                for _ in range(100):
                    raw.sendall(b"x")
                    time.sleep(0.05)
                raise AssertionError("it was still listening after 5 s")


def _head(api: Api) -> bytes:
    words = "POST /api/v1/vm HTTP/1.1", "Host: x", f"X-Api-Key: {api.key}", "Content-Type: application/json"
    return "".join(f"{word}\r\n" for word in words).encode()


def _all_of(raw: socket.socket) -> bytes:
    answer = b""
    while piece := raw.recv(65536):
        answer += piece
    return answer


def test_a_body_of_just_a_megabyte(client: httpx2.Client) -> None:
    no(
        client.post(
            "/vm", content=b'{"xml": "' + b"x" * 1_040_000 + b'"}', headers={"Content-Type": "application/json"}
        )
    )


RAW = [
    b"GET /api/v1/vm/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/vm/%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/vm?limit=%ff\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/vm/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET //api/v1/vm HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/vm//state HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://other/api/v1/vm HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GARBAGE\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /api/v1/vm HTTP/9.9\r\n\r\n",
    b"POST /api/v1/vm HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/v1/vm HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST /api/v1/vm HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
    b"POST /api/v1/vm HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"GET /api/v1/vm HTTP/1.1\r\nHost: x\r\nX-Api-Key: \xff\xfe\r\n\r\n",
    b"GET /api/v1/vm HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"GET /api/v1/vm HTTP/1.1\r\nHost: x\r\nIf-Match: \xff\r\nRange: bytes=0-\r\nAccept: nothing/atall\r\n\r\n",
]


@pytest.mark.parametrize("request_", RAW, ids=range(len(RAW)))
def test_what_no_client_library_sends(api: Api, raw: socket.socket, request_: bytes) -> None:
    raw.sendall(request_.replace(b"Host: x\r\n", f"Host: x\r\nX-Api-Key: {api.key}\r\nConnection: close\r\n".encode()))
    raw.settimeout(3)
    answer = b""
    try:
        while piece := raw.recv(65536):
            answer += piece
    except TimeoutError:
        assert request_.startswith(b"\x16"), "only what is no request yet may be left waiting"
        return
    status = int(answer.split()[1]) if answer else 400
    assert status < 500 and b"Traceback" not in answer
    assert status < 400 or not answer or json.loads(answer.partition(b"\r\n\r\n")[2])["message"]


def test_a_head_without_end(rig: Rig, tmp_path: Path) -> None:
    with (
        running(rig, tmp_path, linger_bytes=1_000_000) as api,
        socket.create_connection(("127.0.0.1", api.frontend.port), timeout=5) as raw,
    ):
        raw.sendall(b"GET / HTTP/1.1\r\n")
        sent = 0
        with pytest.raises(OSError):
            for number in range(10_000):
                raw.sendall(b"X-%d: %s\r\n" % (number, b"y" * 1000))
                sent += 1000
            raise AssertionError("it took 10 MB of head")
        assert sent < 5_000_000


def test_slow_heads_bodies_and_readers_are_left(rig: Rig, tmp_path: Path) -> None:
    limits = {"head_within_s": 0.3, "body_within_s": 0.3, "idle_s": 0.3}
    with running(rig, tmp_path, **limits) as api:
        head = f"POST /api/v1/vm HTTP/1.1\r\nHost: x\r\nX-Api-Key: {api.key}\r\nContent-Length: 100\r\n\r\n".encode()
        for said, answer in ((b"", b""), (b"GET / HT", b""), (head, b"HTTP/1.1 408"), (head + b"x", b"HTTP/1.1 408")):
            with socket.create_connection(("127.0.0.1", api.frontend.port), timeout=5) as raw:
                raw.sendall(said)
                try:
                    heard = raw.recv(65536)
                except ConnectionResetError:
                    heard = b""
                assert heard[:12] == answer, said


def test_a_reader_that_reads_nothing_is_left(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pvc_api_falcon.bodies.VmBodies.many", lambda self, by: b"x" * 50_000_000)
    with running(rig, tmp_path, idle_s=0.3) as api, socket.create_connection(("127.0.0.1", api.frontend.port)) as raw:
        raw.sendall(f"GET /api/v1/vm HTTP/1.1\r\nHost: x\r\nX-Api-Key: {api.key}\r\n\r\n".encode())
        time.sleep(1.5)
        raw.settimeout(5)
        heard = 0
        with pytest.raises(ConnectionResetError):
            while piece := raw.recv(1 << 20):
                heard += len(piece)
            raise ConnectionResetError
        assert heard < 50_000_000


# -- every route, hostile values ---------------------------------------------------------------------------------------

STRINGS = st.one_of(
    st.sampled_from([*NAMES, "true", "0", "-1", "1e999", "9" * 40, "null", "[]", "<a/>", "hv1", "vms", "web1"]),
    st.text(max_size=40),
)
VALUES = st.one_of(
    STRINGS, st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False),
    st.lists(STRINGS, max_size=3), st.dictionaries(st.text(max_size=5), STRINGS, max_size=2),
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> tuple[Route, str, dict[str, Any], dict[str, Any], str]:
    route = draw(st.sampled_from(THERE))
    path = re.sub(r"\{\w+\}", lambda _: quote(draw(STRINGS).encode("utf-8", "replace"), safe=""), route.path)
    known = [field.data_key or name for name, field in route.takes().load_fields.items()] if route.takes else []
    keys = st.sampled_from([*known, "unknown"]) if known else st.just("unknown")
    query = draw(st.dictionaries(keys, STRINGS, max_size=3))
    body = draw(st.dictionaries(keys, VALUES, max_size=4))
    return route, path, query, body, draw(st.sampled_from(["json", "form", "none", "odd"]))


@given(requests())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_input_breaks_any_route(
    client: httpx2.Client, asked: tuple[Route, str, dict[str, Any], dict[str, Any], str]
) -> None:
    route, path, query, body, kind = asked
    if query.get("follow") or body.get("follow") or query.get("wait") or body.get("wait"):
        return  # they last; test_streams.py has them
    content, headers = b"", {}
    if kind == "json":
        content, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    elif kind == "form":
        form = "&".join(f"{quote(name)}={quote(str(value).encode('utf-8', 'replace'))}" for name, value in body.items())
        content, headers = form.encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    elif kind == "odd":
        content, headers = str(body).encode("utf-8", "replace"), {"Content-Type": "text/odd; charset=\xff"[:8]}
    params = {name: value.encode("utf-8", "replace").decode("utf-8", "replace") for name, value in query.items()}
    with client.stream(route.method, path, params=params, content=content, headers=headers) as answer:
        if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
            return  # it lasts; test_event_stream.py has it
        answer.read()
    assert answer.status_code < 500 or answer.status_code == 501, (
        route.method,
        path,
        answer.status_code,
        answer.text[:300],
    )
    assert "Traceback" not in answer.text
    if answer.status_code >= 400:
        assert answer.json()["message"] and answer.json()["request_id"]


def test_every_pending_path_says_so(client: httpx2.Client) -> None:
    for methods, path in PENDING:
        for method in methods.split():
            answer = client.request(
                method, re.sub(r"\{\w+\}", "x1", path), content=b"\xff" * 10 if method != "GET" else b""
            )
            assert answer.status_code == 501, (method, path, answer.status_code)
