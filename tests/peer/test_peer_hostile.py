"""Clients that leave, hang, or speak another language: the server frees what it held and answers the next one."""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pvc_core.errors import Permanent, Refused
from pvc_core.peer import Answer, PeerServer, Unreachable, answering, ask


def test_a_client_that_leaves_a_silent_console_frees_it(path: Path, asked) -> None:
    reply = ask(path, "console")
    assert next(reply.body) == b"login: "
    reply.close()
    assert asked.freed.wait(5)


def test_a_client_that_leaves_a_talking_console_frees_it(path: Path, asked) -> None:
    with ask(path, "endless") as reply:
        next(reply.body)
    assert asked.freed.wait(5)


def test_close_wakes_the_thread_that_reads(path: Path) -> None:
    reply = ask(path, "console")
    next(reply.body)
    timer = threading.Timer(0.2, reply.close)
    timer.start()
    with pytest.raises(Unreachable):
        next(reply.body)
    timer.join()


def test_a_client_that_does_not_read_is_given_up_and_blocks_nobody(serve, asked) -> None:
    path = serve(idle_s=0.5)
    slow = _dial(path)
    _frame(slow, {"ask": "endless"})
    assert ask(path, "echo", {"a": 1}).result == {"a": 1}
    assert asked.freed.wait(5)
    slow.close()


def test_an_upload_that_stalls_is_given_up(serve, asked) -> None:
    path = serve(idle_s=0.3)
    slow = _dial(path)
    _frame(slow, {"ask": "upload", "body": True})
    slow.sendall(struct.pack(">I", 100) + b"ten bytes!")
    assert asked.freed.wait(5)
    assert "broke off" in asked.uploads[0]
    assert _answer(slow)["code"] == "retry"
    slow.close()


def test_killed_in_the_middle_of_an_upload(path: Path, asked) -> None:
    code = (
        "import sys, time\nfrom pvc_core.peer import ask\n"
        "def source():\n    yield b'x' * 500_000\n    print('half', flush=True)\n    time.sleep(60)\n"
        "ask(sys.argv[1], 'upload', body=source())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as client:
        assert client.stdout and client.stdout.readline() == b"half\n"
        client.kill()
    assert asked.freed.wait(5)
    assert asked.uploads[0].startswith("thrown away")


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (struct.pack(">I", 0xFFFFFFFF) + b"x" * 5000, "4294967295 bytes was announced"),
        (struct.pack(">I", 1024 * 1024 + 1), "1048577 bytes was announced"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "bytes was announced"),
        (struct.pack(">I", 4) + b"\xff\xfe\x00{", "not a question"),
        (struct.pack(">I", 0), "not a question"),
        (struct.pack(">I", 2) + b"[]", "not a question"),
        (struct.pack(">I", 900_000) + b"[" * 900_000, "not a question"),
        (struct.pack(">I", 13) + b'{"ask": null}', "not a question"),
        (struct.pack(">I", 22) + b'{"ask":"e","args":[1]}', "not a question"),
        (struct.pack(">I", 11) + b'{"args":{}}', "not a question"),
    ],
)
def test_garbage_is_refused_in_words(path: Path, sent: bytes, says: str) -> None:
    client = _dial(path)
    client.sendall(sent)
    answer = _answer(client)
    assert (answer["ok"], answer["code"]) == (False, "invalid")
    assert says in str(answer["message"])
    client.close()
    assert ask(path, "echo", {"a": 1}).result == {"a": 1}


def test_half_a_header_is_waited_for_only_so_long(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "HEADER_WAIT_S", 0.5)
    slow = _dial(path)
    until_s = time.monotonic() + 3
    with pytest.raises(OSError):  # a byte now and then does not prolong it
        for byte in struct.pack(">I", 100) + b"x" * 100:
            slow.sendall(bytes([byte]))
            time.sleep(0.1)
    assert time.monotonic() < until_s
    slow.close()


def test_half_a_header_and_gone(path: Path) -> None:
    for _ in range(200):
        # Sometimes faster than the server takes them.
        with suppress(BlockingIOError, BrokenPipeError), closing(_dial(path)) as client:
            client.sendall(b"\0\0")
    assert ask(path, "echo", {"a": 1}).result == {"a": 1}


def test_a_second_server_is_refused_and_the_first_lives_on(path: Path) -> None:
    with pytest.raises(Refused, match=f"pvcnoded runs on this node already .process {os.getpid()} holds"):
        PeerServer(path, {}, name="pvcnoded").start()
    assert ask(path, "echo", {"a": 1}).result == {"a": 1}


def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "node.sock"
    code = (
        "import sys, time\nfrom pvc_core.peer import Answer, PeerServer\n"
        "PeerServer(sys.argv[1], {'who': lambda a, b: Answer({'who': 'first'})}).start()\n"
        "print('up', flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as first:
        assert first.stdout and first.stdout.readline() == b"up\n"
        assert ask(path, "who").result == {"who": "first"}
        first.kill()
    assert path.exists()
    with pytest.raises(Unreachable, match="nobody listens"):
        ask(path, "who")
    second = PeerServer(path, {"who": lambda args, body: Answer({"who": "second"})})
    second.start()
    assert ask(path, "who").result == {"who": "second"}
    second.stop()
    assert not path.exists()


def test_stop_ends_what_is_open(serve: Callable[..., Path], asked, tmp_path: Path) -> None:
    server = PeerServer(tmp_path / "x.sock", asked.handlers())
    server.start()
    reply = ask(tmp_path / "x.sock", "console")
    next(reply.body)
    server.stop()
    assert asked.freed.is_set()
    with pytest.raises(Unreachable):
        next(reply.body)
    with pytest.raises(Unreachable):
        ask(tmp_path / "x.sock", "echo")


def test_mode_is_as_asked_and_an_unknown_group_is_told(tmp_path: Path) -> None:
    server = PeerServer(tmp_path / "x.sock", {}, mode=0o600)
    server.start()
    assert stat.S_IMODE((tmp_path / "x.sock").stat().st_mode) == 0o600
    server.stop()
    with pytest.raises(Permanent, match="there is no group 'nosuch'"):
        PeerServer(tmp_path / "y.sock", {}, group="nosuch").start()
    PeerServer(tmp_path / "y.sock", {}).start()


def test_a_path_too_long_for_a_socket_is_told(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="at most 107 bytes"):
        PeerServer(tmp_path / ("x" * 120), {}).start()


def _dial(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(10)
    sock.connect(str(path))
    return sock


def _frame(sock: socket.socket, header: object) -> None:
    data = json.dumps(header).encode()
    sock.sendall(struct.pack(">I", len(data)) + data)


def _answer(sock: socket.socket) -> dict[str, object]:
    (length,) = struct.unpack(">I", sock.recv(4, socket.MSG_WAITALL))
    answer: dict[str, object] = json.loads(sock.recv(length, socket.MSG_WAITALL))
    return answer
