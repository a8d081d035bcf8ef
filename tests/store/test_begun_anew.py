"""A real ZooKeeper whose data is gone: its clients come back by themselves, in time, and with no memory of it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from pvc_core.errors import NotFound
from pvc_core.store.base import SessionState
from pvc_core.store.zookeeper import ZooKeeperStore

from .rigs import ZooKeeper

pytestmark = pytest.mark.system
FORGET_S = 4.0


def until(true: object, deadline_s: float = 60.0) -> None:
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_server_younger_than_what_was_seen_is_taken_when_the_connection_was_gone_for_long(tmp_path: Path) -> None:
    server = ZooKeeper(tmp_path)
    server.start()
    store = ZooKeeperStore(server.hosts, session_timeout_s=2.0, call_deadline_s=3.0, forget_s=FORGET_S)
    moved: list[SessionState] = []
    try:
        for number in range(20):
            store.create(f"/pvc/a{number}", b"old")
        first = store.session().id
        store.on_session(lambda session: moved.append(session.state))
        server.kill()
        fell_s = time.monotonic()
        shutil.rmtree(tmp_path / "version-2")
        server.start()
        until(lambda: store.session().state is SessionState.CONNECTED and store.session().id != first)
        assert time.monotonic() - fell_s > FORGET_S, "whoever lags behind for a moment is never taken"
        assert moved[0] is SessionState.SUSPENDED and SessionState.LOST in moved, "what was known is told to be gone"
        with pytest.raises(NotFound):
            store.get("/pvc/a3")
        assert store.create("/pvc/new", b"new").version == 0
    finally:
        store.close()
        server.kill()
