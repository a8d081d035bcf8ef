"""Bad ends: every one is a sentence on standard error and an exit code, never a traceback."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest

from pvc_cli import transport
from pvc_cli.connections import Endpoint

LOCAL = Endpoint("http", "localhost", 0, socket_path="/x/api.sock")
REMOTE = Endpoint("http", "c1", 7370)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "AGAIN_AFTER_S", (0.0, 0.0, 0.0))


def reply(api: Any, status: int, body: Any, **headers: str) -> Any:
    return type(api.sample("GET /vm"))(status, body, headers)


@pytest.mark.parametrize(
    ("status", "code"), [(400, 1), (401, 5), (403, 5), (404, 3), (409, 6), (412, 6), (501, 1), (500, 4), (503, 4)]
)
def test_exit_codes(pvc: Any, api: Any, status: int, code: int) -> None:
    body = {"message": "It may not be.", "code": "x", "help": "Do this.", "request_id": "r-17"}
    api.on("POST /vm/vm1/state", reply(api, status, body))
    result = pvc("vm", "start", "vm1")
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("Error: It may not be.\nHelp:  Do this.\n")
    assert ("r-17" in result.err) == (status >= 500)
    assert len(api.requests) == 1, "a change is never asked for twice"


FLASK = "The requested URL was not found on the server. If you entered the URL manually please check your spelling."


@pytest.mark.parametrize(
    ("status", "body"), [(404, {"message": FLASK}), (404, {"message": "there is nothing", "code": "no_such_path"}),
                         (405, {"message": "PUT is not possible", "code": "no_such_method"})],
)  # fmt: skip
def test_an_older_api(pvc: Any, api: Any, status: int, body: dict[str, str]) -> None:
    api.on("GET /cluster/check", reply(api, status, body))
    result = pvc("cluster", "check")
    assert (result.code, result.out) == (1, "")
    assert "has no GET /api/v1/cluster/check.\nHelp:  its PVC is older than this pvc" in result.err


def test_what_pvc_1_0_calls_missing_is_missing(pvc: Any, api: Any) -> None:
    api.on("POST /vm/vm1/state", reply(api, 404, {"message": "ERROR: Could not find VM"}))
    result = pvc("vm", "start", "vm1")
    assert (result.code, "Could not find VM" in result.err, "older" in result.err) == (3, True, False)


def test_all_wrong_fields_are_named(pvc: Any, api: Any) -> None:
    api.on("POST /vm/vm1/state", api.sample('POST /vm/vm00001/state {"state": "bogus"}'))
    assert "Error: state: A valid state must be specified\n" in pvc("vm", "start", "vm1").err


def test_a_missing_key_is_explained(pvc: Any, api: Any) -> None:
    # The sample's body is text, as it came over the wire.
    api.on("GET /node", reply(api, 401, api.samples["GET /node without key"]["body"].encode()))
    result = pvc("node", "list")
    assert result.code == 5
    assert "X-Api-Key Authentication required." in result.err
    assert "pvc connection add" in result.err


def test_reading_is_tried_again(pvc: Any, api: Any) -> None:
    api.on("GET /node", reply(api, 503, None), reply(api, 429, None), api.sample("GET /node"))
    assert pvc("node", "list").code == 0
    assert len(api.requests) == 3


def test_reading_is_not_tried_for_ever(pvc: Any, api: Any) -> None:
    api.on("GET /node", reply(api, 502, b"<html>proxy</html>"))
    result = pvc("node", "list")
    assert (result.code, len(api.requests)) == (4, 4)
    assert "answered 502" in result.err


def test_what_is_no_pvc_api_is_said(pvc: Any, api: Any) -> None:
    api.on("GET /node", reply(api, 200, b"<html>hello</html>"))
    result = pvc("node", "list")
    assert (result.code, "no JSON" in result.err) == (4, True)


def test_an_answer_nobody_promised_is_no_traceback(pvc: Any, api: Any) -> None:
    api.on("GET /node", reply(api, 200, [{"name": "hv1"}]))
    result = pvc("node", "list")
    assert (result.code, result.out) == (4, "")
    assert "this is a fault" in result.err
    assert "Traceback" not in result.err


def listening() -> socket.socket:
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server


def test_nobody_listens(pvc: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("PVC_API_URL", f"http://127.0.0.1:{port}")
    result = pvc("node", "list")
    assert result.code == 4
    assert f"GET http://127.0.0.1:{port}/api/v1/node was not possible: connection refused" in result.err
    assert "Help:" in result.err


def test_cut_off_in_the_middle_of_a_change(pvc: Any, hanging_up: Any) -> None:
    hanging_up(b"")
    result = pvc("vm", "start", "vm1")
    assert result.code == 4
    assert "look whether the change was made" in result.err


def test_what_speaks_no_http(pvc: Any, hanging_up: Any) -> None:
    hanging_up(b"220 smtp ready\r\n")
    result = pvc("vm", "start", "vm1")
    assert (result.code, "speaks no HTTP" in result.err) == (4, True)


@pytest.mark.parametrize("url", ["ftp://x", "http://x:y", "http://", "x"])
def test_bad_addresses(pvc: Any, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PVC_API_URL", url)
    result = pvc("node", "list")
    assert (result.code, "write it as" in result.err) == (1, True)


def test_https_where_http_is_spoken(pvc: Any, api_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVC_API_URL", api_url.replace("http:", "https:"))
    result = pvc("node", "list")
    assert (result.code, "TLS failed" in result.err) == (4, True)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("vm lst", "Did you mean list"),
        ("vn list", "Did you mean vm"),
        ("vm list --formt json", "--format"),
        ("vm list -f yaml", "json-pretty"),
        ("vm vcpu set vm1 0", "x>=1"),
        ("vm modify vm1", "either --editor or CFGFILE"),
        ("vm meta vm1", "at least one option"),
        ("vm define /nonexistent/vm.xml", "No such file"),
        ("storage volume snapshto list", "Did you mean snapshot"),
    ],
)
def test_wrong_command_lines(pvc: Any, api: Any, line: str, words: str) -> None:
    result = pvc(*line.split())
    assert (result.code, api.requests) == (2, [])
    assert words in result.err


def test_quiet_and_silent(pvc: Any) -> None:
    assert pvc("-q", "vm", "info", "nope").err == ""
    assert pvc("-q", "vm", "lst").err == ""
    quiet = pvc("-q", "vm", "list", "-f", "raw")
    assert quiet.out != ""
    silent = pvc("-s", "vm", "list")
    assert (silent.code, silent.out, silent.err) == (0, "", "")
    assert pvc("-s", "vm", "info", "nope").code == 3


def test_debug_shows_the_request_and_never_the_key(pvc: Any) -> None:
    result = pvc("-v", "node", "list", "-f", "raw")
    assert "> GET http://127.0.0.1" in result.err
    assert "< 200" in result.err
    assert "content-length" in result.err
    assert "a-key-nobody" not in result.err
    assert result.out == "hv1\nhv2\n"


@pytest.mark.parametrize(
    ("endpoint", "error", "words", "help"),
    [
        (LOCAL, PermissionError(13, "Permission denied"), "unix:/x/api.sock/y was not possible: perm", "group pvc"),
        (LOCAL, ConnectionRefusedError(111, "Connection refused"), "connection refused", "pvcapid running on this"),
        (REMOTE, socket.gaierror(-2, "Name or service not known"), "the name is not known", "pvc connection list"),
        (REMOTE, TimeoutError("timed out"), "http://c1:7370/y was not possible: no answer within 2.05", "address and"),
        (REMOTE, ssl.SSLCertVerificationError(1, "x"), "certificate is not trusted", "PVC_CLIENT_VERIFY_SSL"),
    ],
    ids=["permission", "refused", "name", "timeout", "certificate"],
)  # fmt: skip
def test_words_for_what_cannot_be_reached(endpoint: Endpoint, error: OSError, words: str, help: str) -> None:
    if isinstance(error, ssl.SSLCertVerificationError):
        error.verify_message = "self-signed certificate"
    made = transport.unreachable(endpoint, "GET", "/y", error)
    assert words in made.message
    assert help in made.help


def test_what_is_old_is_told_once_beside_the_answer(pvc: Any, api: Any) -> None:
    sample = api.sample("GET /node")
    api.on("GET /node", reply(api, 200, sample.body, **{"PVC-Stale": "12"}))
    result = pvc("node", "list", "-f", "raw")
    assert result.code == 0
    assert result.err == "Shown as of 12 s ago: the store does not answer this API.\n"
    why = {"PVC-Stale": "12", "Warning": '110 - "as of 12 s ago: Ceph cannot be asked"'}
    api.on("GET /node", reply(api, 200, sample.body, **why))
    assert pvc("node", "list", "-f", "raw").err == "Shown as of 12 s ago: Ceph cannot be asked.\n"
    assert "Shown" not in result.out


@pytest.mark.parametrize("option", ["-q", "-c", "--debug", "--colour"])
def test_a_global_option_after_the_command_is_told_its_place(pvc_alone: Any, option: str) -> None:
    result = pvc_alone("vm", "list", option)
    assert (result.code, result.out) == (2, "")
    assert f"{option} stands before the command: pvc {option} ... vm list" in result.err
    assert "stands before" not in pvc_alone("vm", "list", "--nope").err
