"""pvcstored as a process: what it refuses to begin with, what it keeps, what it survives."""

from __future__ import annotations

import os
import random
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.security import CREATOR_ALL_ACL

from pvc_core.errors import StoreUnavailable
from pvc_core.store.base import SessionState
from pvc_core.store.zookeeper import ZooKeeperStore

from .rigs import ROOT, Pvcstored, free_port

pytestmark = pytest.mark.system

CONNECT = struct.pack(">iiqiqi", 44, 0, 0, 4000, 0, 16) + bytes(16)
"""A connect request for a new session of 4 s."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Pvcstored]:
    server = Pvcstored(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def store(server: Pvcstored) -> Iterator[ZooKeeperStore]:
    store = ZooKeeperStore(server.hosts, call_deadline_s=3.0)
    yield store
    store.close()


def run(*options: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pvc_core.store.embedded.main", *options]
    everything = {**os.environ, **(environment or {})}
    return subprocess.run(command, cwd=ROOT, env=everything, capture_output=True, text=True, timeout=20, check=False)


def refusal(*options: str, environment: dict[str, str] | None = None) -> str:
    """What it says when it will not begin: one sentence, exit code 2."""
    done = run(*options, environment=environment)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if "WARNING" not in line]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


# beginning


def test_bad_options_are_refused_in_one_sentence(tmp_path: Path) -> None:
    base = ["--config", str(tmp_path / "none.yaml"), "--path", str(tmp_path / "s.db"), "--secrets", "none"]
    assert "not a loopback address" in refusal(*base, "--listen", "0.0.0.0")
    assert "not a loopback address" in refusal(*base, "--listen", "192.0.2.1")
    assert "is not an address" in refusal(*base, "--listen", "hv1.example")
    assert "is not a port" in refusal(*base, "--port", "70000")
    assert "not an absolute path" in refusal("--config", str(tmp_path / "none.yaml"), "--path", "store.db")
    assert not (tmp_path / "s.db").exists()


def test_missing_secrets_are_refused_in_one_sentence(tmp_path: Path) -> None:
    base = ["--config", str(tmp_path / "none.yaml"), "--path", str(tmp_path / "s.db"), "--secrets"]
    assert "pvcnoded init" in refusal(*base, str(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    assert "there are no secrets" in refusal(*base, str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("store: {embedded: {port: 2181", "is not YAML"),
        ("store: {embedded: {}}\nplugins: {x: {since: 2024-13-45}}\n", "is not YAML"),
        ("store: {zookeeper: {port: 2181}}", "keeps the store in ZooKeeper"),
        ("store: {embedded: 2181}", "store.embedded is 2181"),
        ("store: {embedded: {port: many}}", "'many' is not a port"),
        ("store: {embedded: {path: 7}}", "'7' is not an absolute path"),
    ],
)
def test_a_bad_config_is_refused_in_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    config = tmp_path / "pvc.yaml"
    config.write_text(text)
    assert expected in refusal("--secrets", "none", environment={"PVC_CONFIG_FILE": str(config)})


def test_the_config_is_read_and_an_option_beats_it(tmp_path: Path) -> None:
    config, port = tmp_path / "pvc.yaml", free_port()
    config.write_text(f"store: {{embedded: {{port: 1, path: {tmp_path}/from-config}}}}\nplugins: {{broken: [}}")
    assert "is not YAML" in refusal("--config", str(config))
    config.write_text(f"store: {{embedded: {{port: 1, path: {tmp_path}/from-config}}}}\nunknown: 1\n")
    with socket.create_server(("127.0.0.1", port)):
        sentence = refusal("--config", str(config), "--port", str(port), "--secrets", "none")
    assert f"cannot listen on 127.0.0.1 port {port}" in sentence
    assert (tmp_path / "from-config" / "store.db").exists()


def test_a_file_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(b"precious text, but no store\n" * 100)
    assert "damaged or no store" in refusal("--path", str(path), "--secrets", "none", "--config", "/none.yaml")
    assert path.read_bytes().startswith(b"precious text")


def test_a_newer_file_is_refused(tmp_path: Path, server: Pvcstored) -> None:
    server.kill()
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    options = ["--path", str(tmp_path / "store.db"), "--secrets", "none", "--config", "/none.yaml"]
    assert "written by a newer pvcstored" in refusal(*options, "--port", str(free_port()))


def test_a_second_one_on_the_same_file_is_refused(tmp_path: Path, server: Pvcstored, store: ZooKeeperStore) -> None:
    store.create("/a", b"1")
    options = ["--path", str(tmp_path / "store.db"), "--secrets", "none", "--config", "/none.yaml"]
    assert "another pvcstored is using" in refusal(*options, "--port", str(free_port()))
    assert store.put("/a", b"2", if_version=0).version == 1


def test_systemd_is_told_when_it_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        server = Pvcstored(tmp_path)
        server.start()
        assert notify.recv(100) == b"READY=1"
        server.kill()


def test_the_file_is_its_owners_alone(tmp_path: Path, server: Pvcstored, store: ZooKeeperStore) -> None:
    store.create("/a", b"1")
    for path in tmp_path.glob("store.db*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_sigterm_is_an_orderly_end(server: Pvcstored, store: ZooKeeperStore) -> None:
    store.create("/a", b"1")
    assert server.process
    server.process.terminate()
    assert server.process.wait(10) == 0
    server.start()
    end_s = time.monotonic() + 10
    while store.session().state is not SessionState.CONNECTED and time.monotonic() < end_s:
        time.sleep(0.02)
    assert store.get("/a").value == b"1"


# what it keeps


def test_numbers_and_grants_survive_a_restart(server: Pvcstored) -> None:
    client = KazooClient(server.hosts, auth_data=[("digest", "u:p")])
    client.start(5)
    names = [client.create("/q/n-", sequence=True, makepath=True) for _ in range(3)]
    client.delete(names[2])
    client.create("/q/e-", sequence=True, ephemeral=True)
    client.set("/q", b"x")
    client.create("/null", None)
    client.create("/private", b"", acl=CREATOR_ALL_ACL)
    before, grants = client.get("/q"), client.get_acls("/private")
    client.stop()
    client.close()
    server.restart()
    client = KazooClient(server.hosts, auth_data=[("digest", "u:p")])
    client.start(5)
    try:
        value, stat = client.get("/q")
        assert value == before[0]
        assert (stat.version, stat.czxid, stat.mzxid, stat.ctime) == (
            1,
            before[1].czxid,
            before[1].mzxid,
            before[1].ctime,
        )
        assert client.create("/q/n-", sequence=True) == "/q/n-0000000004", "a number was given twice"
        assert client.get("/null")[0] is None
        assert client.get_acls("/private") == grants
    finally:
        client.stop()
        client.close()


def test_stamps_do_not_go_back_when_only_ephemeral_keys_were_written(server: Pvcstored, store: ZooKeeperStore) -> None:
    store.create("/e", b"")
    last = max(store.create(f"/e/{number}", b"", ephemeral=True).stamp for number in range(50))
    last = max(last, *(store.put("/e/1", b"%d" % number, if_version=None).stamp for number in range(50)))
    server.restart()
    again = ZooKeeperStore(server.hosts)
    try:
        assert again.create("/e/1", b"", ephemeral=True).stamp > last
    finally:
        again.close()


# what it survives


def test_a_client_that_waits_for_the_first_connection(tmp_path: Path) -> None:
    server = Pvcstored(tmp_path)
    early = ZooKeeperStore(server.hosts, call_deadline_s=3.0)
    try:
        begin_s = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            early.create("/a", b"", deadline_s=0.3)
        assert caught.value.maybe_written is False
        assert 0.2 < time.monotonic() - begin_s < 1.0
        server.start()
        early.create("/a", b"")
    finally:
        early.close()
        server.kill()


def test_garbage_on_the_wire_harms_nobody(server: Pvcstored, store: ZooKeeperStore) -> None:
    dice = random.Random(7)
    store.create("/a", b"1")
    before = store.tree("/")
    for _ in range(150):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
            if dice.random() < 0.8:
                sock.sendall(CONNECT)
            for _ in range(dice.randint(1, 5)):
                op = dice.choice([1, 2, 3, 4, 5, 6, 7, 8, 12, 14, 15, 22, 100, 106, 13, 9999, -11])
                body = struct.pack(">ii", 1, op) + dice.randbytes(dice.randint(0, 60))
                size = len(body) if dice.random() < 0.7 else dice.choice([-1, 2**31 - 1, 0, 4, 1 << 21])
                try:
                    sock.sendall(struct.pack(">i", size) + body)
                except OSError:
                    break
    assert store.tree("/") == before
    assert "Traceback" not in server.log.read_text()


def test_a_commit_that_breaks_off_leaves_nothing(server: Pvcstored, store: ZooKeeperStore) -> None:
    """The first operation is fine and applied in memory when the second turns out to be cut short."""
    before = store.tree("/")
    grants = struct.pack(">ii", 1, 31) + struct.pack(">i", 5) + b"world" + struct.pack(">i", 6) + b"anyone"
    create = struct.pack(">iBi", 1, 0, -1) + struct.pack(">i", 5) + b"/half" + struct.pack(">i", -1) + grants
    body = struct.pack(">ii", 1, 14) + create + struct.pack(">i", 0) + struct.pack(">iBi", 5, 0, -1) + b"\0\0"
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(CONNECT)
        sock.recv(64)
        sock.sendall(struct.pack(">i", len(body)) + body)
        assert sock.recv(64) == b"", "the connection is closed without an answer"
    assert store.create("/after", b"").version == 0
    server.restart()
    again = ZooKeeperStore(server.hosts)
    try:
        assert set(again.tree("/")) - set(before) == {"/after"}
    finally:
        again.close()


def test_a_server_that_accepts_nobody_is_passed_over(server: Pvcstored) -> None:
    """Two hosts, one of them a listener whose queue is full: each dial of it takes a call's time, not a session's."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        queued = [socket.socket() for _ in range(4)]
        for sock in queued:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        for _ in range(3):
            begin_s = time.monotonic()
            store = ZooKeeperStore(
                f"127.0.0.1:{full.getsockname()[1]},{server.hosts}", call_deadline_s=0.5, session_timeout_s=10.0
            )
            store.tree("/", deadline_s=3.0)
            assert time.monotonic() - begin_s < 2.0
            store.close()
        for sock in queued:
            sock.close()


def test_a_session_that_is_silent_is_over(server: Pvcstored, store: ZooKeeperStore) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(struct.pack(">iiqiqi", 44, 0, 0, 600, 0, 16) + bytes(16))
        assert struct.unpack_from(">iii", sock.recv(64))[2] == 600
        path = b"/silent"
        grants = struct.pack(">ii", 1, 31) + struct.pack(">i", 5) + b"world" + struct.pack(">i", 6) + b"anyone"
        body = struct.pack(">iii", 1, 1, len(path)) + path + struct.pack(">i", -1) + grants + struct.pack(">i", 1)
        sock.sendall(struct.pack(">i", len(body)) + body)
        sock.recv(64)
        assert store.get("/silent").ephemeral
        begin_s = time.monotonic()
        while "silent" in store.children("/"):
            assert time.monotonic() - begin_s < 3
            time.sleep(0.05)
        assert time.monotonic() - begin_s > 0.3


def test_its_own_standstill_is_not_held_against_the_clients(server: Pvcstored) -> None:
    store = ZooKeeperStore(server.hosts, call_deadline_s=1.0, session_timeout_s=1.0)
    try:
        store.create("/mine", b"", ephemeral=True)
        before = store.session()
        server.signal(signal.SIGSTOP)
        time.sleep(3.0)
        server.signal(signal.SIGCONT)
        end_s = time.monotonic() + 5
        while store.session().state is not SessionState.CONNECTED and time.monotonic() < end_s:
            time.sleep(0.02)
        assert store.session() == before
        assert store.get("/mine").ephemeral
    finally:
        store.close()


def test_the_probes_answer(server: Pvcstored) -> None:
    for command, expected in ((b"ruok", b"imok"), (b"srvr", b"Node count: 1"), (b"stat", b"not known here")):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
            sock.sendall(command)
            assert expected in sock.recv(1000)
