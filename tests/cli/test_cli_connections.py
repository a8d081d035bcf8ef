"""Which cluster is meant: the file of PVC 1.0, `local` through the socket, the environment."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

KEY = "0123456789abcdef0123"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "home" / ".config" / "pvc" / "pvc.json"


def test_local_goes_through_the_socket_without_a_key(
    pvc_alone: Any, api: Any, api_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PVC_API_SOCKET", str(api_socket))
    assert pvc_alone("node", "list", "-f", "raw").out == "hv1\nhv2\n"
    assert pvc_alone("-c", "local", "node", "list", "-f", "raw").out == "hv1\nhv2\n"
    assert "x-api-key" not in api.last.headers


def test_without_any_cluster_it_says_what_to_do(pvc_alone: Any, tmp_path: Path) -> None:
    result = pvc_alone("node", "list")
    assert (result.code, result.out) == (4, ""), "as where nobody answers"
    assert str(tmp_path / "no.sock") in result.err
    assert "pvc connection add" in result.err
    pvc_alone("connection", "add", "lab", "-a", "127.0.0.1")
    assert "with -c: lab" in pvc_alone("node", "list").err


def test_a_connection_is_added_used_and_removed(
    pvc_alone: Any, api: Any, api_url: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = api_url.rpartition(":")[2]
    assert pvc_alone("connection", "add", "lab", "-a", "127.0.0.1", "-p", port, "-k", KEY, "-d", "The lab").code == 0
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert pvc_alone("-c", "lab", "node", "list", "-f", "raw").out == "hv1\nhv2\n"
    assert api.last.headers["x-api-key"] == KEY
    monkeypatch.setenv("PVC_CONNECTION", "lab")
    assert pvc_alone("node", "list", "-f", "raw").code == 0
    assert pvc_alone("connection", "remove", "lab").code == 0
    unknown = pvc_alone("node", "list")
    assert (unknown.code, 'no connection "lab"' in unknown.err) == (3, True)
    assert pvc_alone("connection", "remove", "lab").code == 3


def test_the_file_of_pvc_1_0_is_read_and_kept(pvc_alone: Any, store: Path) -> None:
    old = {
        "local": {"description": "Local API", "host": "127.0.0.1", "port": 7370, "cfgfile": "/etc/pvc/pvc.conf"},
        "prod": {"description": "Production", "host": "10.0.0.250", "port": 7370, "scheme": "https", "api_key": KEY},
    }
    store.parent.mkdir(parents=True)
    store.write_text(json.dumps(old))
    assert pvc_alone("connection", "list", "-f", "raw").out == "prod\n"
    pvc_alone("connection", "add", "two", "-a", "10.1.0.250", "-s")
    assert json.loads(store.read_text()) == {
        **old,
        "two": {"description": "N/A", "host": "10.1.0.250", "port": 7370, "scheme": "https", "api_key": ""},
    }


def test_keys_are_hidden_unless_asked_for(pvc_alone: Any) -> None:
    pvc_alone("connection", "add", "a", "-a", "10.0.0.1", "-k", KEY)
    pvc_alone("connection", "add", "b", "-a", "10.0.0.2", "-k", "short")
    for form in ("pretty", "json", "json-pretty"):
        listed = pvc_alone("connection", "list", "-f", form).out
        assert KEY not in listed
        assert "short" not in listed
    assert KEY in pvc_alone("connection", "list", "-k").out


def test_json_prometheus(pvc_alone: Any) -> None:
    pvc_alone("connection", "add", "a", "-a", "10.0.0.1", "-d", "First")
    assert json.loads(pvc_alone("connection", "list", "-f", "json-prometheus").out) == [
        {"targets": ["10.0.0.1:7370"], "labels": {"pvc_cluster_name": "First", "pvc_cluster_id": "a"}}
    ]


def test_detail_asks_all_and_shows_the_silent_ones(pvc_alone: Any, api_url: str) -> None:
    port = api_url.rpartition(":")[2]
    pvc_alone("connection", "add", "up", "-a", "127.0.0.1", "-p", port)
    pvc_alone("connection", "add", "down", "-a", "127.0.0.1", "-p", "1")
    result = pvc_alone("connection", "detail", "-f", "json")
    rows = {row["name"]: row for row in json.loads(result.out)}
    assert rows["up"]["status"]["primary_node"] == "hv1"
    assert rows["down"]["status"] is None
    assert "connection refused" in rows["down"]["error"]
    assert result.code == 0
    pvc_alone("connection", "remove", "down")  # it is asked again and again
    assert "hv1" in pvc_alone("connection", "detail").out


@pytest.mark.parametrize("content", ["{", "[]", '{"a": {"host": 1}}', '{"a": 3}'])
def test_a_broken_file_is_named_and_left_alone(pvc_alone: Any, store: Path, content: str) -> None:
    store.parent.mkdir(parents=True)
    store.write_text(content)
    for argv in (("connection", "list"), ("-c", "a", "node", "list"), ("connection", "add", "b", "-a", "x")):
        result = pvc_alone(*argv)
        assert (result.code, str(store) in result.err) == (1, True)
    assert store.read_text() == content


def test_directory_and_permissions_from_the_environment(
    pvc_alone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PVC_CLIENT_DIR", str(tmp_path / "shared"))
    monkeypatch.setenv("PVC_CLIENT_DB_PERMS", "640")
    umask = os.umask(0o077)
    try:
        pvc_alone("connection", "add", "a", "-a", "x")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "shared" / "pvc.json").stat().st_mode) == 0o640
    monkeypatch.setenv("PVC_CLIENT_DB_PERMS", "rw")
    assert "octal" in pvc_alone("connection", "list").err


def test_local_cannot_be_taken(pvc_alone: Any) -> None:
    assert pvc_alone("connection", "add", "local", "-a", "x").code == 1


@pytest.mark.parametrize(
    ("address", "helps"), [("hv1:7370", "give -a hv1 -p 7370"), ("http://hv1", "--port and --ssl"), ("", "--port"),
                           ("h v", "--port")],
)  # fmt: skip
def test_an_address_with_more_in_it(pvc_alone: Any, address: str, helps: str) -> None:
    result = pvc_alone("connection", "add", "prod", "-a", address)
    assert (result.code, helps in result.err) == (1, True)


@pytest.mark.parametrize("address", ["hv1", "10.0.0.250", "fd00::1", "[fd00::1]", "pvc.example.com"])
def test_addresses(pvc_alone: Any, address: str) -> None:
    assert pvc_alone("connection", "add", "prod", "-a", address).code == 0
