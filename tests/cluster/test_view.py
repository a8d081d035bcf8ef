"""The picture in memory: it shows what the store has, costs no reads, and equals the store again after every fault."""

from __future__ import annotations

import random
import threading
import time

import pytest

from pvc_core.clock import SystemClock
from pvc_core.cluster import layout
from pvc_core.cluster.repository import Add, Drop, Repository, Set, Unchanged
from pvc_core.cluster.view import PATIENCE_S, QUIET_S, ViewKeeper
from pvc_core.errors import Conflict, Exists, Refused, StoreUnavailable
from pvc_core.model.cluster import NameIndex
from pvc_core.model.vm import Claim, VmWanted
from pvc_core.store.base import Entry
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.store import FakeStoreServer


def vm(number: int) -> VmWanted:
    return VmWanted(uuid=f"u{number}", name=f"vm{number}", definition="<domain/>")


class Rig:
    def __init__(self, live: bool = False, spread_s: float = 0.0) -> None:
        self.server, self.clock = FakeStoreServer(), FakeClock()
        self.store = self.server.client("reader")
        self.writer = Repository(self.server.client("writer"))
        self.keeper = ViewKeeper(self.store, self.clock, live=live, spread=lambda: spread_s)
        self.settle()

    def settle(self) -> None:
        self.server.deliver()
        self.keeper.step()

    def assert_equal(self) -> None:
        assert self.keeper.view.fresh
        assert self.keeper.differences() == []


def test_shows_what_is_written_and_forgets_what_is_deleted() -> None:
    rig = Rig()
    kept = rig.writer.add(layout.VM_WANTED, "u1", vm(1))
    rig.settle()
    assert rig.keeper.view.vm_wanted["u1"].value == vm(1)
    rig.writer.drop(layout.VM_WANTED, "u1", if_version=kept.version)
    rig.settle()
    assert "u1" not in rig.keeper.view.vm_wanted
    rig.assert_equal()


def test_looking_reads_no_store() -> None:
    rig = Rig()
    for number in range(100):
        rig.writer.add(layout.VM_WANTED, f"u{number}", vm(number))
    rig.settle()
    before = rig.keeper.reads
    assert len([kept.value.name for kept in rig.keeper.view.vm_wanted.values()]) == 100
    assert rig.keeper.reads == before


def test_a_picture_taken_does_not_change() -> None:
    rig = Rig()
    before = rig.keeper.view
    rig.writer.add(layout.VM_WANTED, "u1", vm(1))
    rig.settle()
    assert "u1" not in before.vm_wanted
    assert "u1" in rig.keeper.view.vm_wanted


def test_an_answer_after_a_write_reflects_it() -> None:
    rig = Rig()
    rig.writer.add(layout.VM_WANTED, "u1", vm(1))
    assert rig.keeper.settle([layout.VM_WANTED.key("u1")], inline=True)
    assert "u1" in rig.keeper.view.vm_wanted


def test_stale_while_the_store_is_silent_and_right_after() -> None:
    rig = Rig()
    rig.writer.add(layout.VM_WANTED, "u1", vm(1))
    rig.settle()
    rig.store.cut()
    rig.server.deliver()
    assert not rig.keeper.view.fresh
    assert "u1" in rig.keeper.view.vm_wanted
    rig.writer.add(layout.VM_WANTED, "u2", vm(2))
    assert rig.keeper.step() is False
    rig.store.mend()
    rig.settle()
    assert "u2" in rig.keeper.view.vm_wanted
    rig.assert_equal()


def test_it_says_how_old_it_is_while_the_store_is_silent() -> None:
    """From the last answered question on, whatever the connection believes of itself; ten minutes are no different."""
    rig = Rig(live=True)
    assert rig.keeper.stale_s() is None
    rig.clock.move(10.0)
    assert rig.keeper.stale_s() is None, "nothing happened, which is no silence"
    rig.store.cut()
    rig.server.deliver()
    rig.clock.move(600.0)
    assert rig.keeper.stale_s() == 610.0
    rig.store.mend()
    rig.settle()
    assert rig.keeper.stale_s() is None


def test_a_server_that_hangs_is_noticed_by_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection stands and no heartbeat comes: that is asked about, and no answer makes the picture old."""
    rig = Rig(live=True)
    rig.clock.move(QUIET_S)
    hangs = threading.Event()

    def hang(key: str, *, deadline_s: float | None = None) -> Entry:
        hangs.wait(5.0)
        raise StoreUnavailable("no answer", maybe_written=False)

    monkeypatch.setattr(rig.store, "get", hang)
    asking = threading.Thread(target=rig.keeper._probe)
    asking.start()
    while rig.keeper._asking_s is None:
        time.sleep(0.001)
    assert rig.keeper.stale_s() is None
    rig.clock.move(PATIENCE_S)
    assert rig.keeper.stale_s() == QUIET_S + PATIENCE_S, "while it waits for the answer"
    hangs.set()
    asking.join()
    assert not rig.keeper.view.fresh
    assert rig.keeper.stale_s() == QUIET_S + PATIENCE_S
    monkeypatch.undo()
    assert rig.keeper._probe() is True
    assert rig.keeper.stale_s() is None


def test_a_silent_store_loses_no_wake() -> None:
    rig = Rig()
    rig.writer.add(layout.VM_WANTED, "u1", vm(1))
    rig.server.deliver()
    rig.store.cut()
    assert rig.keeper.step() is False
    rig.store.mend()
    assert rig.keeper.step() is True
    rig.assert_equal()


def test_one_unreadable_record_hides_no_other() -> None:
    rig = Rig()
    rig.writer.add(layout.VM_WANTED, "u1", vm(1))
    rig.settle()
    rig.writer.store.put(layout.VM_WANTED.key("u1"), b'{"schema":1,"uuid":7}', if_version=None)
    rig.writer.add(layout.VM_WANTED, "u2", vm(2))
    rig.settle()
    assert rig.keeper.view.vm_wanted["u1"].value == vm(1)
    assert rig.keeper.view.vm_wanted["u2"].value == vm(2)


def test_heartbeats_are_watched_only_by_those_who_asked() -> None:
    from pvc_core.model.node import Heartbeat

    for live, expected in ((False, {}), (True, {"hv1"})):
        rig = Rig(live=live)
        rig.writer.add(layout.HEARTBEATS, "hv1", Heartbeat(node="hv1", incarnation="a", beat=1))
        rig.settle()
        assert set(rig.keeper.view.heartbeats) == set(expected)


def test_a_commit_is_all_or_nothing() -> None:
    rig = Rig()
    first = rig.writer.add(layout.VM_WANTED, "u1", vm(1))
    with pytest.raises(Conflict):
        rig.writer.commit([Add(layout.VM_WANTED, "u2", vm(2)), Unchanged(layout.VM_WANTED, "u1", first.version + 1)])
    assert rig.writer.find(layout.VM_WANTED, "u2") is None
    with pytest.raises(Exists):
        rig.writer.add(layout.VM_WANTED, "u1", vm(1))


@pytest.mark.parametrize("seed", range(30))
def test_equals_the_store_after_any_run_of_faults(seed: int) -> None:
    rig, choose = Rig(), random.Random(seed)
    for _ in range(120):
        _one_thing(rig, choose)
    rig.store.mend()
    rig.settle()
    rig.clock.move(10.0)
    rig.settle()
    rig.assert_equal()


def _one_thing(rig: Rig, choose: random.Random) -> None:
    number = choose.randrange(6)
    id = f"u{number}"
    match choose.randrange(8):
        case 0:
            rig.store.cut()
        case 1:
            rig.store.mend()
        case 2:
            rig.store.expire()
        case 3:
            rig.server.deliver()
        case 4:
            rig.keeper.step()
        case 5:
            kept = rig.writer.find(layout.VM_WANTED, id)
            if kept is None:
                names = Add(layout.VM_NAMES, f"vm{number}", NameIndex(uuid=id))
                rig.writer.commit([Add(layout.VM_WANTED, id, vm(number)), names])
            else:
                rig.writer.commit([Set(layout.VM_WANTED, id, vm(number), kept.version)])
        case 6:
            kept, name = rig.writer.find(layout.VM_WANTED, id), rig.writer.find(layout.VM_NAMES, f"vm{number}")
            if kept is not None and name is not None:
                rig.writer.commit(
                    [Drop(layout.VM_WANTED, id, kept.version), Drop(layout.VM_NAMES, f"vm{number}", name.version)]
                )
        case 7:
            claim = rig.writer.find(layout.CLAIMS, id)
            try:
                rig.writer.save(layout.CLAIMS, id, Claim(uuid=id, holder="hv1", generation=number), claim)
            except StoreUnavailable:
                pass


def test_after_a_reconnect_the_re_read_is_spread_and_until_then_the_picture_says_that_it_is_old() -> None:
    rig = Rig(spread_s=2.0)
    assert rig.keeper.view.fresh  # the first reading waits for nobody
    rig.store.cut()
    rig.server.deliver()
    rig.clock.move(1.0)
    rig.store.mend()
    reads = rig.keeper.reads
    rig.settle()
    assert (rig.keeper.reads, rig.keeper.view.fresh) == (reads, False)
    rig.clock.move(2.0)
    rig.settle()
    rig.assert_equal()


def test_after_a_reconnect_all_is_read_anew_though_nothing_else_ever_changes() -> None:
    server = FakeStoreServer()
    store = server.client("reader")
    keeper = ViewKeeper(store, SystemClock(), spread=lambda: 0.2)
    thread = threading.Thread(target=keeper.run, daemon=True)
    thread.start()
    server.deliver()
    assert keeper.wait_until(lambda view: view.fresh, timeout_s=10)
    store.cut()
    server.deliver()
    assert keeper.wait_until(lambda view: not view.fresh, timeout_s=10)
    time.sleep(0.3)  # the thread sleeps by now, without a limit: nothing is due
    store.mend()
    server.deliver()
    assert keeper.wait_until(lambda view: view.fresh, timeout_s=10)
    keeper.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_what_is_the_same_after_a_reconnect_is_not_decoded_again() -> None:
    rig = Rig()
    rig.writer.add(layout.VM_WANTED, "u1", vm(1))
    kept = rig.writer.add(layout.VM_WANTED, "u2", vm(2))
    rig.settle()
    before = rig.keeper.view.vm_wanted
    rig.store.cut()
    rig.server.deliver()
    rig.writer.set(layout.VM_WANTED, "u2", vm(3), if_version=kept.version)
    rig.store.mend()
    rig.settle()
    assert rig.keeper.view.vm_wanted["u1"] is before["u1"]
    assert rig.keeper.view.vm_wanted["u2"].value == vm(3)
    rig.assert_equal()


def test_a_store_begun_anew_whose_stamps_are_those_of_the_old_one_is_read() -> None:
    """Stamps count from the start again: the same stamp and another record."""
    rig, other = Rig(), Rig()
    rig.writer.add(layout.VM_WANTED, "u1", vm(1))
    other.writer.add(layout.VM_WANTED, "u1", vm(2))
    for each in (rig, other):
        each.settle()
    assert rig.keeper.view.vm_wanted["u1"].stamp == other.keeper.view.vm_wanted["u1"].stamp
    rig.store.cut()
    rig.server.deliver()
    rig.store.tree = other.store.tree  # type: ignore[method-assign]  # another store behind the same address
    rig.store.mend()
    rig.settle()
    assert rig.keeper.view.vm_wanted["u1"].value == vm(2)


def test_a_store_that_refuses_does_not_end_the_thread_that_follows_it() -> None:
    rig = Rig()
    rig.writer.add(layout.VM_WANTED, "u1", vm(1))
    rig.server.deliver()
    get = rig.store.get
    rig.store.get = _refuse  # type: ignore[method-assign]  # a server that lost our rights
    assert rig.keeper.step() is False
    rig.store.get = get  # type: ignore[method-assign]  # mended
    rig.settle()
    rig.assert_equal()


def test_a_subscriber_that_fails_costs_neither_the_picture_nor_the_others() -> None:
    """As a plugin's bug would, over a definition that it cannot describe."""
    server, told, both = FakeStoreServer(auto=True), set[str](), threading.Event()
    keeper, writer = ViewKeeper(server.client("reader"), SystemClock()), Repository(server.client("writer"))

    def fail(keys: frozenset[str] | None) -> None:
        raise AttributeError("'NoneType' object has no attribute 'get'")

    keeper.subscribe(fail)

    def hear(keys: frozenset[str] | None) -> None:
        told.update(keys or ())
        if layout.VM_WANTED.key("u2") in told:
            both.set()

    keeper.subscribe(hear)
    thread = threading.Thread(target=keeper.run, daemon=True)
    thread.start()
    try:
        for number in (1, 2):
            writer.add(layout.VM_WANTED, f"u{number}", vm(number))
            keeper.settle([layout.VM_WANTED.key(f"u{number}")], timeout_s=30.0)
            assert f"u{number}" in keeper.view.vm_wanted
        assert both.wait(30.0) and thread.is_alive()
    finally:
        keeper.stop()
        thread.join()


def test_what_could_not_be_read_for_whatever_reason_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    rig.writer.add(layout.VM_WANTED, "u1", vm(1))
    rig.server.deliver()
    with monkeypatch.context() as broken:
        broken.setattr(rig.keeper, "_kept", None)  # as a fault of ours
        with pytest.raises(TypeError):
            rig.keeper.step()
    rig.settle()
    rig.assert_equal()


def _refuse(key: str, *, deadline_s: float | None = None) -> Entry:
    raise Refused(f"cannot read {key}: user node may not")
