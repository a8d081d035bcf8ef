"""Who may: keys over TCP, the socket without one, roles."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import httpx2
import pytest

from pvc_core.errors import Permanent

from .fake_compute import definition
from .rig import Api, Rig, running


def test_a_good_key(api: Api) -> None:
    with api.client() as client:
        assert client.get("/vm").status_code == 200


@pytest.mark.parametrize(
    "key", ["wrong", "tester", "tester.", "tester.wrong", ".", "", "x" * 300, "tester." + "x" * 300, "ü.ß"]
)
def test_a_wrong_key(api: Api, key: str) -> None:
    with httpx2.Client(base_url=f"{api.url}/api/v1") as client:
        for path in ("/vm", "/network"):
            answer = client.get(path, headers={"X-Api-Key": key.encode()})  # type: ignore[dict-item]  # bytes are taken too
            assert answer.status_code == 401 and answer.json()["code"] == "unauthenticated"
        assert (
            client.post("/vm", headers={"X-Api-Key": key.encode()}, data={"xml": definition("intruder")}).status_code
            == 401
        )
    assert api.rig.keeper.view.vm("intruder") is None


def test_a_prefix_of_a_key_is_no_key(api: Api) -> None:
    for key in (api.key[:-1], api.key + "x", api.key.upper()):
        with api.client(key=key) as client:
            assert client.get("/vm").status_code == 401


def test_open_paths(api: Api) -> None:
    with api.client(key="") as nobody:
        for path in ("/", "/status/primary_node", "/health"):
            assert nobody.get(path).status_code == 200
        for path in ("/status", "/node", "/vm", "/tasks", "/plugin", "/storage"):
            assert nobody.get(path).status_code == 401


def test_the_socket_needs_no_key(api: Api) -> None:
    with api.local() as local:
        assert local.get("/vm").status_code == 200
        assert local.post("/vm", data={"xml": definition("local1")}).status_code == 200
    assert api.rig.keeper.view.vm("local1").value.asked_by == "local"
    assert stat.S_IMODE(api.socket.stat().st_mode) == 0o660


def test_who_asked_is_kept(api: Api) -> None:
    with api.client() as client:
        client.post("/vm", data={"xml": definition("mine")})
    assert api.rig.keeper.view.vm("mine").value.asked_by == "tester"


def test_read_only_may_look_and_nothing_else(api: Api) -> None:
    key = api.rig.services.keys.add("looker", "read-only")
    api.rig.keeper.settle()
    with api.client(key=key) as looker:
        assert looker.get("/vm").status_code == 200
        for method, path in (("POST", "/vm"), ("DELETE", "/vm/mine"), ("PUT", "/vm/mine"), ("POST", "/status")):
            answer = looker.request(method, path, data={"state": "true", "xml": definition("x")})
            assert answer.status_code == 403 and answer.json()["code"] == "forbidden"


def test_a_removed_key_is_nobodys(api: Api) -> None:
    key = api.rig.services.keys.add("leaver", "admin")
    api.rig.keeper.settle()
    with api.client(key=key) as leaver:
        assert leaver.get("/vm").status_code == 200
        api.rig.services.keys.remove("leaver")
        api.rig.keeper.settle()
        assert leaver.get("/vm").status_code == 401


def test_a_known_key_costs_no_hash(api: Api) -> None:
    with api.client() as client:
        client.get("/")
        began = time.perf_counter()
        for _ in range(50):
            client.get("/node/hv1/daemon-state")
        assert (time.perf_counter() - began) / 50 < 0.03, "a scrypt hash takes 50 ms"


def test_without_keys(rig: Rig, tmp_path: Path) -> None:
    with running(rig, tmp_path, key_required=False) as api, api.client(key="") as anybody:
        assert anybody.get("/vm").status_code == 200
        assert anybody.get("/vm", headers={"X-Api-Key": "wrong.key"}).status_code == 401


def test_what_stands_in_the_way_is_said(rig: Rig, tmp_path: Path, api: Api) -> None:
    for settings, sentence in (
        ({"port": api.frontend.port}, "Address already in use"),
        ({"listen": "192.0.2.1"}, "192.0.2.1"),
        ({"socket": str(api.socket)}, "another process does"),
        ({"socket": "/no/such/directory/api.sock"}, "No such file or directory"),
        ({"certificate": "/no/such.pem", "certificate_key": "/no/such.key"}, "/no/such.pem"),
    ):
        with pytest.raises(Permanent) as caught, running(rig, tmp_path, **settings):
            pass  # pragma: no cover
        assert sentence in caught.value.message and caught.value.help


def test_a_dead_ones_socket_is_replaced(rig: Rig, tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "api.sock"))
    with running(rig, tmp_path) as api, api.local() as local:
        assert local.get("/").status_code == 200
    assert not (tmp_path / "api.sock").exists()
