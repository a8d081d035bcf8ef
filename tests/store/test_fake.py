"""What the fake offers beyond the contract: faults on demand, and nothing happening by itself."""

from __future__ import annotations

import pytest

from pvc_core.errors import StoreUnavailable
from pvc_core.store.base import SessionState
from pvc_core.testing.store import FakeStoreServer


def test_wakes_wait_until_they_are_delivered() -> None:
    server, heard = FakeStoreServer(), list[str | None]()
    store = server.client()
    store.watch("/a", heard.append)
    store.create("/a", b"")
    assert heard == []
    assert server.deliver() == 2
    assert heard == [None, "/a"]
    assert server.deliver() == 0


def test_auto_calls_them_within_the_call() -> None:
    server, heard = FakeStoreServer(auto=True), list[str | None]()
    store = server.client()
    store.watch("/a", heard.append)
    store.create("/a", b"")
    assert heard == [None, "/a"]


def test_a_refused_write_did_not_happen() -> None:
    server = FakeStoreServer()
    store, other = server.client("hv1"), server.client()
    store.refuse_next_write()
    with pytest.raises(StoreUnavailable, match="hv1") as caught:
        store.create("/a", b"")
    assert caught.value.maybe_written is False
    assert other.tree("/a") == {}
    store.create("/a", b"")


def test_a_delayed_call_moves_the_clock_and_meets_its_deadline() -> None:
    moved: list[float] = []
    store = FakeStoreServer(advance=moved.append).client()
    store.create("/a", b"")
    store.delay_next_call(2.0)
    assert store.get("/a").value == b""
    store.delay_next_call(9.0)
    with pytest.raises(StoreUnavailable) as caught:
        store.put("/a", b"1", if_version=0, deadline_s=3.0)
    assert caught.value.maybe_written is True
    assert moved == [2.0, 3.0]
    assert store.get("/a").value == b"1"


def test_expired_while_cut_off_stays_lost_until_mended() -> None:
    server = FakeStoreServer(auto=True)
    store = server.client()
    store.create("/mine", b"", ephemeral=True)
    before = store.session().id
    store.cut()
    store.expire()
    assert store.session().state is SessionState.LOST
    assert server.client().tree("/mine") == {}
    store.mend()
    assert store.session().state is SessionState.CONNECTED
    assert store.session().id != before


def test_two_runs_are_the_same() -> None:
    def run() -> list[object]:
        server, log = FakeStoreServer(), list[object]()
        clients = [server.client(str(number)) for number in range(3)]
        for client in clients:
            client.watch("/", log.append)
        for client in clients:
            log.append(client.create(f"/{client.name}", b""))
            log.append(server.deliver())
        return log

    assert run() == run()
