"""How long a dial may take: short where another server may answer, longer the more often none did."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from pvc_core.store.zookeeper import ZooKeeperStore
from pvc_core.store.zookeeper.dialling import UNHEARD_S, Dialled, Dialler
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


def test_the_server_on_this_machine_is_dialled_first_and_who_did_not_answer_last() -> None:
    here, there, lost = ("a", "127.0.0.1", 1), ("b", "192.0.2.1", 1), ("c", "2001:db8::1", 1)
    dialled = Dialled()
    assert dialled.ordered([lost, there, here]) == [here, lost, there]
    dialled.missed("2001:db8::1", 1.2, 2.0)
    dialled.missed("192.0.2.1", 0.01, 2.0)
    assert dialled.ordered([lost, there, here]) == [here, there, lost], "one that refused at once is there"
    dialled.missed("127.0.0.1", 1.2, 2.0)
    assert dialled.ordered([here, there])[0] == there


def test_a_machine_that_is_off_is_left_soon_and_dialled_last() -> None:
    """A full backlog answers nobody, like a machine that is off; the kernel drops its packets."""
    with socket.socket() as off, socket.create_server(("127.0.0.1", 0)) as there:
        off.bind(("127.0.0.2", there.getsockname()[1]))
        off.listen(0)
        with socket.create_connection(off.getsockname()):
            store = ZooKeeperStore(f"127.0.0.2:{off.getsockname()[1]}", session_timeout_s=30.0, call_deadline_s=10.0)
            connection = store._link._connection
            try:
                began_s = time.monotonic()
                _until(lambda: connection._dialled._is_avoided("127.0.0.2"), "it was given up")
                assert time.monotonic() - began_s < 10.0, "and not after the patience of a server that is slow"
            finally:
                store.close()


def test_what_nobody_confirms_breaks_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        handler = Dialler(lambda: 1.0, None)
        sock = handler.create_connection(address=there.getsockname(), hostname="there", timeout=2.0)
        with sock:
            limit_ms = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert limit_ms == UNHEARD_S * 1000
            assert sock.gettimeout() == 1.0


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
