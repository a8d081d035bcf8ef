"""Consoles and screens over websocket: tickets, both directions, who may type, limits, and how each of them ends."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect, unix_connect

from pvc_api_falcon.tickets import VALID_S, Tickets
from pvc_cli.api import Api as CliApi
from pvc_cli.connections import Endpoint
from pvc_cli.errors import ApiError, NoAnswer
from pvc_cli.sockets import open_channel
from pvc_cli.transport import Transport
from pvc_core.testing.clock import FakeClock

from .fake_compute import definition
from .rig import Api, running
from .test_security import certificate

VM = "sits"


@pytest.fixture(scope="module")
def vm(client: httpx2.Client) -> str:
    assert client.post("/vm", data={"xml": definition(VM), "node": "hv1"}).status_code == 200
    assert client.post(f"/vm/{VM}/state", data={"state": "start", "wait": "true"}).status_code == 200
    return VM


@pytest.fixture(scope="module")
def clients(api: Api) -> Iterator[dict[str, httpx2.Client]]:
    keys = {role: api.rig.services.keys.add(f"ws-{role}", role) for role in ("read-only", "operator")}
    api.rig.keeper.settle()
    made = {role: api.client(key=key) for role, key in keys.items()}
    yield made
    for one in made.values():
        one.close()


def ticket(client: httpx2.Client, vm: str, kind: str = "console", **params: str) -> dict[str, object]:
    answer = client.post(f"/vm/{vm}/{kind}/ticket", data=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def opened(api: Api, path: object) -> ClientConnection:
    return connect(f"{api.url.replace('http', 'ws')}{path}", proxy=None, open_timeout=10)


def held(api: Api, path: object) -> ClientConnection:
    """For whoever closes it otherwise than in order."""
    return opened(api, path).__enter__()


def refused(api: Api, path: object) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as error:
        held(api, path)
    answer = error.value.response
    return answer.status_code, (answer.body or b"").decode()


def heard(ws: ClientConnection, word: bytes, within_s: float = 10.0) -> bytes:
    said, until_s = b"", time.monotonic() + within_s
    while word not in said:
        piece = ws.recv(timeout=max(0.01, until_s - time.monotonic()))
        said += piece if isinstance(piece, bytes) else piece.encode()
    return said


def test_both_ways_through_both_doors(api: Api, client: httpx2.Client, vm: str) -> None:
    for make in (lambda path: opened(api, path), lambda path: unix_connect(str(api.socket), f"ws://localhost{path}")):
        given = ticket(client, vm)
        assert given["may_type"] is True and given["valid_s"] == VALID_S
        with make(f"{given['path']}&lines=2") as ws:
            assert heard(ws, b"tick 2").startswith(b"line 0")
            for typed in (b"ls\r", b"\x03", b"\xff\x00"):
                ws.send(typed)
                assert heard(ws, b"[" + typed + b"]")
            ws.send("text is typed too\r")
            assert heard(ws, b"[text is typed too\r]")


def test_who_comes_back_asks_for_nothing_that_was_said(api: Api, client: httpx2.Client, vm: str) -> None:
    with opened(api, f"{ticket(client, vm)['path']}&lines=0") as ws:
        assert b"line" not in heard(ws, b"tick 1")


def test_a_ticket_is_good_once_for_its_vm_and_kind(api: Api, client: httpx2.Client, vm: str) -> None:
    client.post("/vm", data={"xml": definition("other")})
    given = ticket(client, vm)
    held(api, given["path"]).close()
    status, body = refused(api, given["path"])
    assert status == 401 and "was used" in body and "unauthenticated" in body
    for wrong, status in ((f"/api/v1/vm/other/console/ws?ticket={ticket(client, vm)['ticket']}", 404),
                          (f"/api/v1/vm/{vm}/vnc/ws?ticket={ticket(client, vm)['ticket']}", 401),
                          (f"/api/v1/vm/{vm}/console/ws?ticket=guessed", 401),
                          (f"/api/v1/vm/{vm}/console/ws", 400),
                          ("/api/v1/vm/nowhere/at/all", 404)):  # fmt: skip
        assert refused(api, wrong)[0] == status, wrong
    assert client.post("/vm/nobody/console/ticket").status_code == 404
    with api.client(key="") as nobody:
        assert nobody.post(f"/vm/{vm}/console/ticket").status_code == 401


def test_a_ticket_does_not_last() -> None:
    clock = FakeClock()
    tickets = Tickets(clock.boottime_s)
    what: dict[str, str | bool] = dict.fromkeys(("uuid", "by", "role", "seal"), "x")
    what |= {"kind": "vnc", "may_type": True}
    first, second = tickets.keep(**what), tickets.keep(**what)
    clock.move(VALID_S - 1)
    assert tickets.take(first, "vnc").uuid == "x"
    clock.move(2)
    with pytest.raises(Exception, match="older than"):
        tickets.take(second, "vnc")


def test_plain_http_is_told_what_it_wants(client: httpx2.Client, vm: str) -> None:
    answer = client.get(f"/vm/{vm}/console/ws", params={"ticket": "x"})
    assert answer.status_code == 426 and answer.headers["Upgrade"] == "websocket"
    assert answer.json()["code"] == "websocket_only"
    half = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "8", "Sec-WebSocket-Key": "x"}
    assert client.get(f"/vm/{vm}/console/ws", params={"ticket": "x"}, headers=half).status_code == 426
    assert client.get(f"/vm/{vm}", headers=half | {"Sec-WebSocket-Version": "13"}).status_code == 200


@pytest.mark.parametrize("role", ["read-only", "operator"])
def test_who_may_only_look_types_nothing(api: Api, clients: dict[str, httpx2.Client], vm: str, role: str) -> None:
    given = ticket(clients[role], vm, look="true")
    assert given["may_type"] is False
    assert ticket(clients[role], vm)["may_type"] is (role == "operator")
    before = list(api.rig.node.typed)
    with opened(api, given["path"]) as ws:
        heard(ws, b"tick 1")
        ws.send(b"rm -rf /\r")
        heard(ws, b"tick 5")
    assert api.rig.node.typed == before


def test_what_does_not_arrive_is_said(api: Api, client: httpx2.Client, vm: str) -> None:
    with opened(api, ticket(client, vm)["path"]) as ws:
        api.rig.node.keyboard_fault = "its keyboard is broken"
        try:
            ws.send(b"x")
            assert b"what you typed did not arrive: its keyboard is broken" in heard(ws, b"broken]")
        finally:
            api.rig.node.keyboard_fault = ""
        ws.send(b"y")
        assert heard(ws, b"[y]")


def test_a_screen_speaks_rfb_and_ends_with_its_server(api: Api, client: httpx2.Client, vm: str) -> None:
    with opened(api, ticket(client, vm, "vnc")["path"]) as ws:
        assert ws.recv(timeout=5) == b"RFB 003.008\n"
        ws.send(b"RFB 003.008\n")
        assert heard(ws, b"[RFB 003.008\n]")
        ws.send(b"bye")
        with pytest.raises(ConnectionClosed) as closed:
            heard(ws, b"never")
    assert closed.value.rcvd is not None and (closed.value.rcvd.code, closed.value.rcvd.reason) == (
        1000, "the guest's side has ended",
    )  # fmt: skip
    assert not api.rig.node.screens, "nothing of it is left on the node"


def test_who_may_only_look_at_a_screen_clicks_nothing(api: Api, clients: dict[str, httpx2.Client], vm: str) -> None:
    with opened(api, ticket(clients["read-only"], vm, "vnc")["path"]) as ws:
        ws.send(b"RFB 003.008\n\x01\x00")
        key, ask = b"\x04" + bytes(7), b"\x03" + bytes(9)
        ws.send(key + ask)
        said = heard(ws, ask + b"]")
        assert b"RFB 003.008\n\x01\x01]" in said, "it asks to share the screen"
        assert b"\x04" not in said
        ws.send(b"\x63")
        with pytest.raises(ConnectionClosed, match="99, which is not known"):
            heard(ws, b"never")


def test_it_ends_with_the_key_it_was_opened_with(api: Api, vm: str) -> None:
    key = api.rig.services.keys.add("ws-leaves", "operator")
    api.rig.keeper.settle()
    with api.client(key=key) as short, opened(api, ticket(short, vm)["path"]) as ws:
        api.rig.services.keys.remove("ws-leaves")
        with pytest.raises(ConnectionClosed, match="key ws-leaves was removed"):
            heard(ws, b"never", 15)


def test_limits_and_the_end_of_the_api(api: Api, vm: str, tmp_path: Path) -> None:
    with running(api.rig, tmp_path, sessions=1, session_idle_s=1.5) as small, small.client() as client:
        ws = held(small, ticket(client, vm)["path"])
        assert refused(small, ticket(client, vm)["path"])[0] == 503
        ws.close()
        _eventually(lambda: not _refused(small, ticket(client, vm)["path"]), "there is room again")
        api.rig.node.silent = True
        try:
            _eventually(lambda: not api.rig.node.screens, "the first is closed")
            with opened(small, ticket(client, vm, "vnc")["path"]) as idle:
                with pytest.raises(ConnectionClosed, match="nothing was said or typed for"):
                    heard(idle, b"never", 20)
        finally:
            api.rig.node.silent = False
    with running(api.rig, tmp_path) as ending, ending.client() as client:
        ws = held(ending, ticket(client, vm)["path"])
        heard(ws, b"tick 1")
        ending.frontend.stop()
        with pytest.raises(ConnectionClosed, match="this API is being stopped"):
            heard(ws, b"never")


def test_who_leaves_without_a_word_leaves_nothing_behind(api: Api, client: httpx2.Client, vm: str) -> None:
    ws = held(api, ticket(client, vm, "vnc")["path"])
    assert len(api.rig.node.screens) == 1
    ws.socket.shutdown(socket.SHUT_RDWR)
    _eventually(lambda: not api.rig.node.screens, "the node knows that nobody looks")


def test_the_audit_log_has_tickets_and_sessions(api: Api, client: httpx2.Client, vm: str) -> None:
    with opened(api, ticket(client, vm)["path"]) as ws:
        ws.send(b"abc")
        heard(ws, b"[abc]")

    def found() -> list[str]:
        entries = client.get("/audit", params={"count": 50}).json()
        return [one["result"] for one in entries if one["action"] == f"GET /vm/{vm}/console/ws"]

    _eventually(lambda: any("3 typed: the client has left" in said for said in found()), f"{found()}")
    assert "console opened" in found()


def _refused(api: Api, path: object) -> bool:
    try:
        held(api, path).close()
    except InvalidStatus:
        return True
    return False


def _eventually(true: object, what: str, within_s: float = 20.0) -> None:
    until_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until_s, what
        time.sleep(0.05)


def test_over_tls_as_the_command_line_opens_it(api: Api, vm: str, tmp_path: Path) -> None:
    certificate(tmp_path, "wss")
    files = {"certificate": str(tmp_path / "crt"), "certificate_key": str(tmp_path / "key")}
    with running(api.rig, tmp_path, **files) as safe:
        endpoint = Endpoint("https", "127.0.0.1", safe.frontend.port, api.key, verify=False)
        channel = open_channel(CliApi(Transport(endpoint)), vm, "console", lines=1)
        channel.send(b"over tls\r")
        said = b""
        while b"[over tls\r]" not in said:
            piece = channel.receive()
            assert isinstance(piece, bytes)
            said += piece
        channel.close()
        with pytest.raises(NoAnswer, match="not trusted"):
            open_channel(CliApi(Transport(replace(endpoint, verify=True))), vm, "console")
        with pytest.raises(ApiError, match="nobody"):
            open_channel(CliApi(Transport(endpoint)), "nobody", "console")
