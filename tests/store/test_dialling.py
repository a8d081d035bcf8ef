"""How long a dial may take: short where another server may answer, longer the more often none did."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from pvc_core.store.zookeeper import ZooKeeperStore
from pvc_core.store.zookeeper.link import DIAL_MOST_S

CALL_S = 0.1


def test_a_server_that_does_not_answer_is_given_more_time_each_time() -> None:
    """It takes the connection and says nothing, like one that has just started and is asked by everybody at once."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        taken: list[socket.socket] = []
        threading.Thread(target=_take, args=(silent, taken), daemon=True).start()
        store = ZooKeeperStore(f"127.0.0.1:{silent.getsockname()[1]}", session_timeout_s=2.0, call_deadline_s=CALL_S)
        try:
            _until(lambda: store._link.patience(CALL_S) >= 4 * CALL_S, "it waits longer for an answer")
            assert store._link.patience(1.0) <= DIAL_MOST_S and store._link.patience(5.0) == 5.0
        finally:
            store.close()
            for one in taken:
                one.close()


def test_one_that_refuses_at_once_is_given_no_more_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
    store = ZooKeeperStore(f"127.0.0.1:{port}", session_timeout_s=2.0, call_deadline_s=5.0)
    try:
        _until(lambda: store._link._connection.generation > 3, "it dials again and again")
        assert store._link.patience(1.0) == 1.0
    finally:
        store.close()


def _take(silent: socket.socket, taken: list[socket.socket]) -> None:
    while True:
        try:
            taken.append(silent.accept()[0])
        except OSError:
            return


def _until(true: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end_s, what
        time.sleep(0.01)
