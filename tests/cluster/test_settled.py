"""A commit whose answer was lost is settled: done once, or not at all, and said so. Against every store there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from pvc_core.clock import SystemClock
from pvc_core.cluster.settled import Settling
from pvc_core.errors import Conflict, StoreUnavailable
from pvc_core.store.base import Check, Create, Delete, Put, Store
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.contract_store import StoreRig
from pvc_core.testing.store import FakeStoreServer
from tests.store.rigs import FakeRig, ProcessRig, Pvcstored, ServerProcess, ZooKeeper

ERA, A, B = "/pvc/era", "/pvc/state/a", "/pvc/state/b"


REAL = [pytest.param(kind, marks=pytest.mark.system, id=kind.__name__.lower()) for kind in (Pvcstored, ZooKeeper)]


@pytest.fixture(scope="module", params=[pytest.param(None, id="fake"), *REAL])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess | None]:
    if request.param is None:
        yield None
        return
    made: ServerProcess = request.param(tmp_path_factory.mktemp("store"))
    made.start()
    made.await_ready()
    yield made
    made.kill()


@pytest.fixture
def rig(server: ServerProcess | None) -> Iterator[StoreRig]:
    if server is None:
        yield FakeRig()
        return
    made = ProcessRig(server)
    yield made
    made.close()


@pytest.fixture
def ours(rig: StoreRig) -> Store:
    store = rig.client()
    for key in (A, B, ERA):
        if store.tree(key):
            store.delete(key, if_version=None)
    store.create(ERA, b"1")
    return store


def settling(rig: StoreRig, meanwhile: Callable[[], object] = bool) -> Settling:
    """What others do meanwhile happens once, before the first look."""
    todo = [meanwhile]

    def pause(seconds: float) -> None:
        rig.settle()
        time.sleep(0.02)
        while todo:
            todo.pop()()

    return Settling(SystemClock(), pause)


def once_there(rig: StoreRig, other: Store, does: Callable[[], object]) -> Callable[[], None]:
    """The connection may have gone before the server was done with the write."""

    def meanwhile() -> None:
        rig.eventually(lambda: A in other.tree(A) and other.get(A).value == b"ours")
        does()

    return meanwhile


def test_what_happened_is_not_done_again(rig: StoreRig, ours: Store) -> None:
    a = ours.create(A, b"0")
    for number, ops in enumerate(
        (
            [Put(A, b"1", a.version), Check(ERA, 0)],
            [Create(B, b"x"), Check(ERA, 0)],
            [Put(A, b"2", 1), Delete(B, 0), Check(ERA, 0)],
            [Delete(A, 2)],
        )
    ):
        rig.cut_before_answer(ours)
        settling(rig).commit(ours, ops)
        assert (A in ours.tree("/pvc")) is (number < 3)
    assert B not in ours.tree("/pvc")


def test_what_others_did_since_is_left_alone(rig: StoreRig, ours: Store) -> None:
    """Ours happened, and somebody wrote over it: nothing of theirs is lost, and we do not claim to know."""
    other = rig.client()
    ours.create(A, b"0")
    rig.cut_before_answer(ours)
    with pytest.raises(StoreUnavailable) as told:
        settling(rig, once_there(rig, other, partial(other.put, A, b"theirs", if_version=1))).commit(
            ours, [Put(A, b"ours", 0)]
        )
    assert told.value.maybe_written
    assert other.get(A).value == b"theirs"


def test_what_somebody_removed_since_does_not_come_back(rig: StoreRig, ours: Store) -> None:
    other = rig.client()
    rig.cut_before_answer(ours)
    with pytest.raises(StoreUnavailable) as told:
        settling(rig, once_there(rig, other, partial(other.delete, A, if_version=0))).commit(
            ours, [Create(A, b"ours"), Check(ERA, 0)]
        )
    assert not told.value.maybe_written
    assert A not in other.tree("/pvc")


def test_without_a_check_nothing_orders_a_look_behind_it(rig: StoreRig, ours: Store) -> None:
    rig.cut_before_answer(ours)
    with pytest.raises(StoreUnavailable) as told:
        settling(rig).commit(ours, [Create(A, b"ours")])
    assert told.value.maybe_written


def test_a_real_conflict_is_one(rig: StoreRig, ours: Store) -> None:
    ours.create(A, b"0")
    with pytest.raises(Conflict):
        settling(rig).commit(ours, [Put(A, b"1", 7)])
    with pytest.raises(Conflict):
        settling(rig).commit(ours, [Put(A, b"1", 0), Check(ERA, 3)])
    assert ours.get(A).value == b"0"


class Faulty:
    """The fake with a write that reaches nobody while whoever sent it believes that it may have."""

    def __init__(self) -> None:
        self.server = FakeStoreServer()
        self.store, self.other = self.server.client(), self.server.client()
        self.store.create(ERA, b"1")
        self.store.create(A, b"0")

    def lost_on_the_way(self, settling: Settling, ops: list[Create | Put | Delete | Check]) -> None:
        settling._settle(self.store, ops, StoreUnavailable("lost", maybe_written=True))


def test_what_did_not_happen_happens_now_if_it_cannot_happen_twice() -> None:
    rig = Faulty()
    rig.lost_on_the_way(Settling(FakeClock(), lambda s: None), [Put(A, b"1", 0), Create(B, b"x"), Check(ERA, 0)])
    assert (rig.store.get(A).value, rig.store.get(B).value) == (b"1", b"x")


def test_somebody_else_was_first() -> None:
    rig = Faulty()
    rig.other.put(A, b"theirs", if_version=0)
    with pytest.raises(Conflict):
        rig.lost_on_the_way(Settling(FakeClock(), lambda s: None), [Put(A, b"ours", 0), Check(ERA, 0)])
    rig.other.create(B, b"theirs")
    with pytest.raises(StoreUnavailable, match="nothing was changed"):
        rig.lost_on_the_way(Settling(FakeClock(), lambda s: None), [Create(B, b"ours"), Check(ERA, 0)])
    assert (rig.store.get(A).value, rig.store.get(B).value) == (b"theirs", b"theirs")


def test_an_outage_ends_the_waiting() -> None:
    rig, clock = Faulty(), FakeClock()
    rig.store.cut()
    began_s = clock.boottime_s()
    with pytest.raises(StoreUnavailable, match="lost") as told:
        rig.lost_on_the_way(Settling(clock, clock.move, within_s=20.0), [Put(A, b"1", 0)])
    assert told.value.maybe_written and 19 < clock.boottime_s() - began_s < 22


def test_a_write_that_was_never_sent_fails_at_once() -> None:
    rig = Faulty()
    rig.store.cut()
    with pytest.raises(StoreUnavailable) as told:
        Settling(FakeClock(), pytest.fail).commit(rig.store, [Put(A, b"1", 0)])
    assert not told.value.maybe_written
