"""Bodies that are not held in memory: uploads, exports, followed logs; and that slow clients are in nobody's way."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pvc_core.errors import Retry

from .fake_compute import definition
from .fake_node import FakeReply
from .rig import Api, Rig, running

UPLOAD = "/storage/ceph/volume/vms/image/upload"


@pytest.fixture(scope="module", autouse=True)
def image(client: httpx2.Client) -> None:
    assert (
        client.post("/storage/ceph/volume", data={"pool": "vms", "volume": "image", "size": "10M"}).status_code == 200
    )


@pytest.fixture(scope="module")
def vm(client: httpx2.Client) -> str:
    client.post("/vm", data={"xml": definition("talker")})
    assert client.post("/vm/talker/state", data={"state": "start", "wait": "true"}).status_code == 200
    return "talker"


def wait_for(true: object, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.01)
    return False


# -- uploads -----------------------------------------------------------------------------------------------------------


def test_upload_as_pvc_does(client: httpx2.Client, rig: Rig) -> None:
    data = bytes(range(256)) * 20_000
    files = {"file": ("disk.raw", data, "application/octet-stream")}
    answer = client.post(UPLOAD, params={"image_format": "raw", "file_size": len(data)}, files=files)
    assert answer.status_code == 200, answer.text
    assert rig.node.uploads["vms/image"] == data


def test_upload_as_curl_does(client: httpx2.Client, rig: Rig) -> None:
    data = b"\r\n--boundary" * 100_000
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post(UPLOAD, params={"image_format": "qcow2"}, content=data, headers=kind).status_code in (200, 400)
    answer = client.post(UPLOAD, params={"image_format": "raw"}, content=data, headers=kind)
    assert answer.status_code == 200, answer.text
    assert rig.node.uploads["vms/image"] == data


def test_upload_that_is_converted_for_longer_than_a_node_is_waited_for(
    client: httpx2.Client, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node took every byte, and does not answer while it converts: the task's end is the answer."""
    original = rig.node.answer_upload

    def too_late(args: Mapping[str, Any], body: Iterable[bytes]) -> FakeReply:
        data = b"".join(body)
        threading.Timer(0.5, original, (args, [data])).start()
        raise Retry("no answer to 'upload': no progress for 10 s")

    monkeypatch.setattr(rig.node, "answer_upload", too_late)
    answer = client.post(UPLOAD, params={"image_format": "raw"}, content=b"image" * 1000)
    assert answer.status_code == 200, answer.text
    assert rig.node.uploads["vms/image"] == b"image" * 1000


def test_upload_of_unknown_length(client: httpx2.Client, rig: Rig) -> None:
    def pieces() -> Iterator[bytes]:
        for number in range(50):
            yield bytes([number]) * 50_000

    assert client.post(UPLOAD, params={"image_format": "raw"}, content=pieces()).status_code == 200
    assert rig.node.uploads["vms/image"] == b"".join(bytes([number]) * 50_000 for number in range(50))


def test_upload_needs_its_parameters(client: httpx2.Client) -> None:
    answer = client.post(UPLOAD, content=b"x")
    assert answer.status_code == 400 and answer.json()["message"].keys() == {"image_format"}
    files = {"note": (None, "no file here")}
    assert client.post(UPLOAD, params={"image_format": "raw"}, files=files).status_code == 400
    assert (
        client.post("/storage/ceph/volume/vms/nope/upload", params={"image_format": "raw"}, content=b"x").status_code
        == 404
    )
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    for body in (b"", b"--b", b"--b\r\nContent-Disposition: form-data; name=file; filename=x\r\n\r\nhalf", b"garbage"):
        answer = client.post(UPLOAD, params={"image_format": "raw"}, content=body, headers=kind)
        assert answer.status_code == 400, answer.text
    kind = {"Content-Type": "multipart/form-data"}
    assert client.post(UPLOAD, params={"image_format": "raw"}, content=b"x", headers=kind).status_code == 400


@pytest.mark.parametrize(
    "head", [b"Content-Length: 10000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n"]
)
def test_a_cut_upload_is_known_as_cut(raw: socket.socket, api: Api, head: bytes) -> None:
    """Whoever takes the bytes gets an error, never a short file."""
    before = len(api.rig.node.broken_uploads)
    start = f"POST /api/v1{UPLOAD}?image_format=raw HTTP/1.1\r\nHost: x\r\nX-Api-Key: {api.key}\r\n".encode()
    raw.sendall(start + head + b"z" * 1000 * (b"Length" in head))
    time.sleep(0.1)
    raw.close()
    assert wait_for(lambda: len(api.rig.node.broken_uploads) > before)
    assert isinstance(api.rig.node.broken_uploads[-1], Retry)


def test_an_upload_is_not_held_in_memory(rig: Rig, api: Api) -> None:
    """A taker that stops taking stops the sender: nothing in between takes the rest."""
    release = threading.Event()
    taken: list[int] = []

    def slowly(args: object, body: Iterator[bytes]) -> None:
        for piece in body:
            taken.append(len(piece))
            release.wait(10)
        raise Retry("enough")

    original = rig.node.answer_upload
    rig.node.answer_upload = slowly
    sent = 0
    try:
        with socket.create_connection(("127.0.0.1", api.frontend.port)) as raw:
            api.client().post("/storage/ceph/volume", data={"pool": "vms", "volume": "big", "size": "10M"})
            path = f"/api/v1{UPLOAD.replace('image', 'big', 1)}?image_format=raw"
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {api.key}\r\nContent-Length: 1000000000\r\n\r\n"
            raw.sendall(head.encode())
            raw.settimeout(0.5)
            with pytest.raises(TimeoutError):
                while sent < 900_000_000:
                    sent += raw.send(b"z" * 1_000_000)
            assert sent < 30_000_000
            release.set()
    finally:
        release.set()
        rig.node.answer_upload = original


# -- downloads ---------------------------------------------------------------------------------------------------------


def test_export(client: httpx2.Client, rig: Rig) -> None:
    answer = client.get("/storage/ceph/volume/vms/image/export")
    assert answer.status_code == 200 and answer.content == rig.node.content
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert 'filename="vms-image.raw"' in answer.headers["Content-Disposition"]
    assert client.get("/storage/ceph/volume/vms/nope/export").status_code == 404


def test_an_export_that_breaks_off_looks_broken(
    client: httpx2.Client, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise Retry("the node went away")

    monkeypatch.setattr(rig.node, "answer_export", lambda args, body: FakeReply(body=breaking()))
    with pytest.raises(httpx2.RemoteProtocolError):
        client.get("/storage/ceph/volume/vms/image/export")
    event, more = rig.log.errors.pop()
    assert event == "an answer broke off" and "went away" in str(more["exc_info"])


def test_an_export_that_the_end_of_the_api_cuts_looks_broken(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x" * 1000
            time.sleep(0.02)

    monkeypatch.setattr(rig.node, "answer_export", lambda args, body: FakeReply(body=slow()))
    with running(rig, tmp_path) as api, api.client() as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            with client.stream("GET", "/storage/ceph/volume/vms/image/export") as answer:
                for number, _ in enumerate(answer.iter_bytes()):
                    if number == 3:
                        api.frontend.stop()
    rig.log.errors.clear()


def test_console_and_log_tails(client: httpx2.Client, vm: str) -> None:
    assert client.get(f"/vm/{vm}/console", params={"lines": 3}).json()["data"] == "line 0\nline 1\nline 2"
    assert client.get("/node/hv1/log", params={"lines": 2}).json() == {"name": "hv1", "data": "line 0\nline 1"}
    assert len(client.get(f"/vm/{vm}/console").json()["data"].splitlines()) == 10
    for bad in ("0", "-1", "x", "1000000000000"):
        assert client.get(f"/vm/{vm}/console", params={"lines": bad}).status_code == 400


def test_following_a_console(client: httpx2.Client, rig: Rig, vm: str) -> None:
    """What comes is there at once; when the client goes, the node is told."""
    with client.stream("GET", f"/vm/{vm}/console", params={"lines": 2, "follow": "true"}) as answer:
        assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain")
        seen = ""
        for piece in answer.iter_text():
            seen += piece
            if "tick 3" in seen:
                break
    assert seen.startswith("line 0\nline 1\ntick 1\n")
    assert wait_for(rig.node.following[-1].closed.is_set)


def test_a_console_nobody_has(client: httpx2.Client, rig: Rig) -> None:
    rig.node.lazy = True
    try:
        client.post("/vm", data={"xml": definition("homeless")})
        assert client.get("/vm/homeless/console").json()["data"] == ""
        answer = client.get("/vm/homeless/console", params={"follow": "1"})
        assert answer.status_code == 400 and "no console" in answer.json()["message"]
    finally:
        rig.node.lazy = False


def test_fifty_followers_and_slow_readers_are_in_nobodys_way(api: Api, vm: str) -> None:
    lines = [socket.create_connection(("127.0.0.1", api.frontend.port), timeout=5) for _ in range(100)]
    try:
        for number, line in enumerate(lines):
            # Half of them follow a console; half ask for a list and read none of it.
            path = f"/vm/{vm}/console?follow=1&lines=20000" if number % 2 else "/vm"
            line.sendall(f"GET /api/v1{path} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {api.key}\r\n\r\n".encode())
        for line in lines[1::2]:
            assert line.recv(12) == b"HTTP/1.1 200"
        with api.client() as client:
            began = time.monotonic()
            for _ in range(20):
                assert client.get(f"/vm/{vm}").status_code == 200
            assert time.monotonic() - began < 2.0
    finally:
        for line in lines:
            line.close()
    assert wait_for(lambda: all(reply.closed.is_set() for reply in api.rig.node.following))


def test_too_many_followers_are_told(rig: Rig, tmp_path: Path, vm: str) -> None:
    with running(rig, tmp_path, streams=2) as small, small.client() as client:
        path = f"/vm/{vm}/console?follow=1"
        with client.stream("GET", path), client.stream("GET", path):
            answer = client.get(path)
            assert answer.status_code == 503 and "Retry-After" in answer.headers
        assert wait_for(lambda: _status(client, path) == 200)


def _status(client: httpx2.Client, path: str) -> int:
    with client.stream("GET", path) as answer:
        return answer.status_code


def test_stop_ends_streams_and_waiting_requests(rig: Rig, tmp_path: Path, vm: str) -> None:
    """Within five seconds, though a client follows a log and another waits for what does not happen."""
    rig.node.lazy = True
    ended: list[object] = []

    def wait(api: Api) -> None:
        try:
            with api.client() as client:
                ended.append(client.post(f"/vm/{vm}/state", data={"state": "stop", "wait": "true"}))
        except httpx2.HTTPError as error:
            ended.append(error)

    try:
        with running(rig, tmp_path) as api, api.client() as client:
            client.post(f"/vm/{vm}/state", data={"state": "start"})
            thread = threading.Thread(target=wait, args=(api,), daemon=True)
            thread.start()
            with client.stream("GET", f"/vm/{vm}/console?follow=1") as answer:
                pieces = answer.iter_bytes()
                assert next(pieces)
                assert wait_for(lambda: client.get(f"/vm/{vm}").json()[0]["state"] == "stop"), "it waits for that"
                began = time.monotonic()
                api.frontend.stop()
                for _ in pieces:
                    pass
            thread.join(5)
        assert time.monotonic() - began < 4.0
        assert [getattr(one, "status_code", one) for one in ended] == [503], "who waited is told"
    finally:
        rig.node.lazy = False
