"""Uploads: streamed as one multipart body, and an API that refuses early is heard."""

from __future__ import annotations

import socket
import threading
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest

from pvc_cli.multipart import CHUNK_BYTES, file_body


def test_the_file_arrives_whole(pvc: Any, api: Any, tmp_path: Path) -> None:
    content = bytes(range(256)) * (CHUNK_BYTES // 256 * 2 + 7)
    image = tmp_path / "disk.qcow2"
    image.write_bytes(content)
    result = pvc("storage", "volume", "upload", "vms", "root", str(image), "-f", "qcow2")
    assert result.code == 0, result.err
    assert api.last.path == "/storage/ceph/volume/vms/root/upload"
    assert api.last.query == {"image_format": ["qcow2"], "file_size": [str(len(content))]}
    head = f"Content-Type: {api.last.headers['content-type']}\r\n\r\n".encode()
    part = BytesParser().parsebytes(head + api.last.body).get_payload()[0]
    assert isinstance(part, Message)
    assert part.get_param("name", header="Content-Disposition") == "file"
    assert api.last.body.count(content) == 1


def test_it_is_never_held_in_memory(tmp_path: Path) -> None:
    image = tmp_path / "sparse"
    with image.open("wb") as file:
        file.truncate(20 * CHUNK_BYTES)
    sent: list[int] = []
    with image.open("rb") as file:
        _, body = file_body("file", file, sent.append)
        sizes = [len(chunk) for chunk in body.chunks]
    assert (sum(sizes), max(sizes), sum(sent)) == (body.length, CHUNK_BYTES, 20 * CHUNK_BYTES)


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"x" * 3 * CHUNK_BYTES)
    with image.open("rb") as file:
        _, body = file_body("file", file, lambda _count: None)
        chunks = iter(body.chunks)
        next(chunks)
        image.write_bytes(b"x")
        with pytest.raises(OSError, match="became shorter"):
            list(chunks)


def test_an_early_no_is_heard(pvc: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "big"
    with image.open("wb") as file:
        file.truncate(64 * CHUNK_BYTES)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def refuse() -> None:
            peer, _ = server.accept()
            peer.recv(1000)
            body = b'{"message": "The pool is full."}'
            peer.sendall(
                b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            peer.shutdown(socket.SHUT_WR)
            peer.settimeout(5)
            # As a careful server: read on for a while, so that the answer is not thrown away with a reset.
            for _ in range(40):
                if not peer.recv(CHUNK_BYTES):
                    break
            peer.close()

        thread = threading.Thread(target=refuse)
        thread.start()
        monkeypatch.setenv("PVC_API_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        result = pvc("storage", "volume", "upload", "vms", "root", str(image))
        thread.join()
    assert (result.code, "The pool is full." in result.err) == (1, True)


def test_a_file_that_is_not_there(pvc: Any, api: Any) -> None:
    assert pvc("storage", "volume", "upload", "vms", "root", "/nonexistent").code == 2
    assert api.requests == []
