# SPDX-License-Identifier: LGPL-3.0-or-later
"""What every store must answer the same way: the suite for the ten primitives.

Subclass StoreContract and give it a fixture `rig`, a StoreRig that knows how to make clients of your store and how to
hurt it. A question a rig cannot be asked is skipped because a capability is declared absent.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import contains

import pytest

from pvc_core.errors import Conflict, Exists, Invalid, NotFound, PvcError, Refused, StoreUnavailable
from pvc_core.store.base import VALUE_MAX_BYTES, Check, Create, Delete, Entry, Op, Put, Session, SessionState, Store

DEADLINE_S = 1.0
"""The default deadline of the rig's clients."""

HOSTILE_KEYS = [
    "",
    "relative",
    "pvc/vms",
    "//",
    "/a//b",
    "/a/",
    "/a/.",
    "/a/..",
    "/./a",
    "/../a",
    "/a\0b",
    "/a\nb",
    "/a\x1fb",
    "/a\x7fb",
    "/a\x9fb",
    "/a\ud800b",
    "/a\uf8ffb",
    "/a\uffffb",
    "/a\U0001f600b",
    "/" + "a" * 1100,
]


@dataclass(frozen=True)
class Capabilities:
    """What a rig can do. `hangs`: the server can fall silent while connections stand. `sessions_survive_restart`."""

    hangs: bool
    sessions_survive_restart: bool


class StoreRig(ABC):
    """One server and its clients, for one test."""

    capabilities: Capabilities

    @abstractmethod
    def client(self) -> Store:
        """A connected client of its own session, with DEADLINE_S as default deadline; the rig closes it."""

    @abstractmethod
    def freeze(self) -> None:
        """From now on the server answers nobody."""

    @abstractmethod
    def thaw(self) -> None:
        """It answers again."""

    @abstractmethod
    def restart(self) -> None:
        """End the server at once, start it again, wait until it can be reached."""

    @abstractmethod
    def cut(self, store: Store) -> None:
        """This client's connection is gone and cannot be made anew; the others' stay."""

    @abstractmethod
    def mend(self, store: Store) -> None: ...

    @abstractmethod
    def expire(self, store: Store) -> None:
        """The server ends this client's session."""

    @abstractmethod
    def cut_before_answer(self, store: Store) -> None:
        """This client's next write reaches the server, its answer is lost and the connection with it."""

    @abstractmethod
    def settle(self) -> None:
        """Let wakes that are due be called, if they do not come by themselves."""

    def eventually(self, what: Callable[[], object], timeout_s: float = 15.0) -> None:
        """Wait until `what()` is true; fails the test if it does not become so."""
        end_s = time.monotonic() + timeout_s
        while not what():
            assert time.monotonic() < end_s, "it did not become true in time"
            self.settle()
            time.sleep(0.01)


class Heard:
    """A wake that remembers."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []

    def __call__(self, key: str | None) -> None:
        self.keys.append(key)

    def forget(self) -> None:
        self.keys.clear()


class StoreContract:
    """The questions. Every test has a subtree `base` of its own."""

    @pytest.fixture
    def rig(self) -> Iterator[StoreRig]:
        raise NotImplementedError("give your store's rig")

    @pytest.fixture
    def store(self, rig: StoreRig) -> Store:
        return rig.client()

    @pytest.fixture
    def base(self, request: pytest.FixtureRequest) -> str:
        return f"/suite/{abs(hash(request.node.nodeid))}-{time.monotonic_ns()}"

    # one key

    def test_what_was_created_is_read(self, store: Store, base: str) -> None:
        made = store.create(f"{base}/a", b"one")
        assert (made.key, made.value, made.version, made.ephemeral) == (f"{base}/a", b"one", 0, False)
        assert store.get(f"{base}/a") == made

    def test_an_empty_value_is_a_value(self, store: Store, base: str) -> None:
        store.create(f"{base}/a", b"")
        assert store.get(f"{base}/a").value == b""
        assert store.put(f"{base}/a", b"x", if_version=0).version == 1
        assert store.put(f"{base}/a", b"", if_version=1).value == b"" == store.get(f"{base}/a").value

    def test_what_exists_is_not_created_again(self, store: Store, base: str) -> None:
        store.create(f"{base}/a", b"one")
        with pytest.raises(Exists, match=f"{base}/a"):
            store.create(f"{base}/a", b"two")
        assert store.get(f"{base}/a").value == b"one"

    def test_missing_parents_are_made_empty(self, store: Store, base: str) -> None:
        store.create(f"{base}/x/y/z", b"deep")
        assert store.get(f"{base}/x/y").value == b""
        assert store.children(f"{base}/x") == ["y"]

    def test_children_are_sorted_names(self, store: Store, base: str) -> None:
        for name in ("b", "a", "c10", "c9"):
            store.create(f"{base}/{name}/below", b"")
        assert store.children(base) == ["a", "b", "c10", "c9"]
        assert store.children(f"{base}/a/below") == []

    def test_absent_is_not_found(self, store: Store, base: str) -> None:
        for ask in (
            lambda: store.get(base),
            lambda: store.children(base),
            lambda: store.put(base, b"", if_version=None),
            lambda: store.put(base, b"", if_version=0),
            lambda: store.delete(base, if_version=None),
        ):
            with pytest.raises(NotFound, match=base):
                ask()

    def test_version_0_is_a_version(self, store: Store, base: str) -> None:
        store.create(base, b"0")
        assert store.put(base, b"1", if_version=0).version == 1
        with pytest.raises(Conflict, match=base):
            store.put(base, b"again", if_version=0)
        with pytest.raises(Conflict, match=base):
            store.delete(base, if_version=0)
        with pytest.raises(Conflict):
            store.commit([Check(base, 0)])
        with pytest.raises(Conflict):
            store.commit([Put(base, b"again", 0)])
        with pytest.raises(Conflict):
            store.commit([Delete(base, 0)])
        assert store.get(base).value == b"1"

    def test_no_version_overwrites_any(self, store: Store, base: str) -> None:
        store.create(base, b"0")
        assert store.put(base, b"1", if_version=None).version == 1
        assert store.put(base, b"2", if_version=None).version == 2
        store.delete(base, if_version=None)
        with pytest.raises(NotFound):
            store.get(base)

    def test_a_key_with_children_is_not_deleted(self, store: Store, base: str) -> None:
        store.create(f"{base}/a", b"")
        with pytest.raises(Refused, match=base):
            store.delete(base, if_version=None)
        with pytest.raises(Refused, match=base):
            store.commit([Delete(base, None)])

    def test_stamps_order_changes_also_after_a_new_beginning(self, store: Store, base: str) -> None:
        stamps = [store.create(base, b"").stamp, store.put(base, b"", if_version=0).stamp]
        store.delete(base, if_version=1)
        again = store.create(base, b"")
        assert again.version == 0
        stamps += [again.stamp, store.create(f"{base}-other", b"").stamp]
        assert stamps == sorted(set(stamps))

    # commits

    def test_a_commit_happens_as_a_whole(self, store: Store, base: str) -> None:
        store.create(f"{base}/put", b"old")
        store.create(f"{base}/gone", b"")
        store.create(f"{base}/check", b"")
        made, put, gone, check = store.commit(
            [
                Create(f"{base}/new/deep", b"n"),
                Put(f"{base}/put", b"p", 0),
                Delete(f"{base}/gone", 0),
                Check(f"{base}/check", 0),
            ]
        )
        assert gone is None
        assert check is None
        assert made == store.get(f"{base}/new/deep")
        assert put == store.get(f"{base}/put")
        assert made is not None
        assert put is not None
        assert (made.version, put.version) == (0, 1)
        assert made.stamp == put.stamp
        assert store.children(base) == ["check", "new", "put"]

    def test_later_operations_see_earlier_ones(self, store: Store, base: str) -> None:
        store.commit([Create(base, b"1"), Create(f"{base}/a", b"2"), Put(base, b"3", 0), Check(base, 1)])
        assert store.get(base).value == b"3"
        store.commit([Delete(f"{base}/a", 0), Delete(base, 1)])
        with pytest.raises(NotFound):
            store.get(base)

    def test_an_empty_commit_is_done(self, store: Store) -> None:
        assert store.commit([]) == []

    @pytest.mark.parametrize("place", [0, 1, 3])
    @pytest.mark.parametrize(
        "fault", ["exists", "version", "absent put", "absent delete", "absent check", "stale delete"]
    )
    def test_all_or_nothing(self, store: Store, base: str, fault: str, place: int) -> None:
        store.create(f"{base}/there", b"1")
        store.create(f"{base}/keep", b"1")
        before = store.tree(base)
        bad: dict[str, Op] = {
            "exists": Create(f"{base}/there", b"2"),
            "version": Put(f"{base}/there", b"2", 7),
            "absent put": Put(f"{base}/absent", b"2", None),
            "absent delete": Delete(f"{base}/absent", None),
            "absent check": Check(f"{base}/absent", 0),
            "stale delete": Delete(f"{base}/there", 3),
        }
        ops: list[Op] = [Put(f"{base}/keep", b"2", 0), Create(f"{base}/new", b"2"), Delete(f"{base}/keep", 1)]
        ops.insert(place, bad[fault])
        with pytest.raises(Conflict, match=bad[fault].key):
            store.commit(ops)
        assert store.tree(base) == before

    # ephemeral keys

    def test_an_ephemeral_key_goes_with_its_session(self, rig: StoreRig, store: Store, base: str) -> None:
        owner = rig.client()
        assert owner.create(f"{base}/mine", b"1", ephemeral=True).ephemeral
        owner.commit([Create(f"{base}/too", b"2", ephemeral=True)])
        owner.create(f"{base}/stays", b"")
        assert store.get(f"{base}/mine").ephemeral
        assert store.get(f"{base}/too").ephemeral
        assert owner.put(f"{base}/mine", b"2", if_version=0).ephemeral
        owner.close()
        rig.eventually(lambda: store.children(base) == ["stays"])

    def test_an_ephemeral_key_has_no_children(self, store: Store, base: str) -> None:
        store.create(f"{base}/mine", b"", ephemeral=True)
        with pytest.raises(Refused, match=f"{base}/mine/below"):
            store.create(f"{base}/mine/below", b"")

    # trees

    def test_a_tree_is_what_its_keys_are(self, store: Store, base: str) -> None:
        store.create(f"{base}/a/b", b"1")
        store.create(f"{base}/a/c/d", b"2")
        store.create(f"{base}beside", b"3")
        tree = store.tree(base)
        assert set(tree) == {base, f"{base}/a", f"{base}/a/b", f"{base}/a/c", f"{base}/a/c/d"}
        assert all(store.get(key) == entry for key, entry in tree.items())
        assert store.tree(f"{base}/absent") == {}

    def test_a_tree_of_many_and_of_large_keys(self, store: Store, base: str) -> None:
        for start in range(0, 1200, 200):
            store.commit([Create(f"{base}/many/{number}", b"x") for number in range(start, start + 200)])
        for number in range(8):
            store.create(f"{base}/large/{number}", bytes(900_000))
        tree = store.tree(base, deadline_s=10)
        assert len(tree) == 1200 + 8 + 3
        assert sum(len(entry.value) for entry in tree.values()) == 1200 + 8 * 900_000

    # what is not taken

    @pytest.mark.parametrize(
        "key", HOSTILE_KEYS, ids=[repr(key)[:20].encode("ascii", "replace").decode() for key in HOSTILE_KEYS]
    )
    def test_hostile_keys_are_refused(self, store: Store, key: str) -> None:
        for ask in (
            lambda: store.get(key),
            lambda: store.children(key),
            lambda: store.create(key, b""),
            lambda: store.put(key, b"", if_version=None),
            lambda: store.delete(key, if_version=None),
            lambda: store.commit([Create("/fine", b""), Check(key, 0)]),
            lambda: store.tree(key),
            lambda: store.watch(key, lambda changed: None),
        ):
            with pytest.raises(Invalid):
                ask()
        with pytest.raises(NotFound):
            store.get("/fine")

    @pytest.mark.parametrize("name", ["ä-ö", "日本語", "a b", "a:b", "%2f", "...", "zookeeper"])
    def test_unusual_names_are_fine(self, store: Store, base: str, name: str) -> None:
        store.create(f"{base}/{name}", b"1")
        assert store.children(base) == [name]
        assert list(store.tree(f"{base}/{name}")) == [f"{base}/{name}"]

    def test_the_largest_value_fits_and_one_more_byte_does_not(self, store: Store, base: str) -> None:
        store.create(base, bytes(VALUE_MAX_BYTES))
        store.commit([Put(base, b"x" * VALUE_MAX_BYTES, 0)])
        assert len(store.get(base).value) == VALUE_MAX_BYTES
        too_large = bytes(VALUE_MAX_BYTES + 1)
        for ask in (
            lambda: store.create(f"{base}/a", too_large),
            lambda: store.put(base, too_large, if_version=None),
            lambda: store.commit([Create(f"{base}/a", too_large)]),
            lambda: store.commit([Create(f"{base}/a", bytes(600_000)), Create(f"{base}/b", bytes(600_000))]),
        ):
            with pytest.raises(Invalid):
                ask()
        assert store.children(base) == []
        assert store.session().state is SessionState.CONNECTED

    # watches

    def test_a_watch_tells_every_change_at_and_below(self, rig: StoreRig, store: Store, base: str) -> None:
        other, heard = rig.client(), Heard()
        store.watch(base, heard)
        rig.eventually(lambda: None in heard.keys)
        heard.forget()
        other.create(f"{base}/a/b", b"")
        other.put(f"{base}/a/b", b"1", if_version=0)
        store.put(base, b"own", if_version=None)
        rig.eventually(lambda: {base, f"{base}/a", f"{base}/a/b"} <= set(heard.keys))
        heard.forget()
        other.commit([Delete(f"{base}/a/b", 1), Delete(f"{base}/a", None)])
        rig.eventually(lambda: {f"{base}/a", f"{base}/a/b"} <= set(heard.keys))
        heard.forget()
        other.create(f"{base}beside", b"")
        other.create(f"{base}/last", b"")
        rig.eventually(lambda: f"{base}/last" in heard.keys)
        assert set(heard.keys) <= {f"{base}/last", None}

    def test_when_a_wake_comes_the_change_can_be_read(self, rig: StoreRig, store: Store, base: str) -> None:
        other, heard = rig.client(), Heard()
        store.watch(base, heard)
        rig.eventually(lambda: heard.keys)
        for number in range(50):
            heard.forget()
            other.create(f"{base}/{number}", b"")
            rig.eventually(partial(contains, heard.keys, f"{base}/{number}"))
            store.get(f"{base}/{number}")

    def test_a_stopped_watch_is_silent(self, rig: StoreRig, store: Store, base: str) -> None:
        stopped, stays = Heard(), Heard()
        watch = store.watch(base, stopped)
        store.watch(base, stays)
        rig.eventually(lambda: stopped.keys and stays.keys)
        watch.stop()
        watch.stop()
        stopped.forget()
        store.create(f"{base}/a", b"")
        rig.eventually(lambda: f"{base}/a" in stays.keys)
        assert not stopped.keys

    def test_watches_of_one_prefix_and_within_another(self, rig: StoreRig, store: Store, base: str) -> None:
        outer, inner, inner_too = Heard(), Heard(), Heard()
        store.watch(base, outer)
        store.watch(f"{base}/in", inner)
        rig.eventually(lambda: outer.keys and inner.keys)
        store.watch(f"{base}/in", inner_too)
        rig.eventually(lambda: inner_too.keys)
        for heard in (outer, inner, inner_too):
            heard.forget()
        store.create(f"{base}/in/a", b"")
        store.create(f"{base}/out", b"")
        rig.eventually(lambda: f"{base}/out" in outer.keys)
        rig.eventually(lambda: all(f"{base}/in/a" in heard.keys for heard in (outer, inner, inner_too)))
        assert f"{base}/out" not in inner.keys

    def test_a_wake_that_raises_disturbs_nobody(self, rig: StoreRig, store: Store, base: str) -> None:
        if not self.isolates_wakes:
            pytest.skip("wakes are not isolated here")
        heard = Heard()

        def broken(key: str | None) -> None:
            raise RuntimeError("this wake is broken on purpose")

        store.watch(base, broken)
        store.watch(base, heard)
        rig.eventually(lambda: heard.keys)
        store.create(f"{base}/a", b"")
        rig.eventually(lambda: f"{base}/a" in heard.keys)

    isolates_wakes = True

    # many at once

    def test_racing_clients_lose_no_increment(self, rig: StoreRig, store: Store, base: str) -> None:
        store.create(base, b"0")
        clients = [rig.client() for _ in range(3)]

        def add(client: Store) -> None:
            done = 0
            while done < 25:
                entry = client.get(base)
                try:
                    client.put(base, b"%d" % (int(entry.value) + 1), if_version=entry.version)
                    done += 1
                except Conflict:
                    continue

        _at_once([partial(add, client) for client in clients * 2])
        entry = store.get(base)
        assert (entry.value, entry.version) == (b"150", 150)

    def test_own_writes_are_read(self, rig: StoreRig, store: Store, base: str) -> None:
        store.create(base, b"")
        busy = rig.client()
        stop = threading.Event()

        def noise() -> None:
            while not stop.is_set():
                busy.create(f"{base}/{time.monotonic_ns()}", b"")

        thread = threading.Thread(target=noise)
        thread.start()
        try:
            for number in range(100):
                version = store.put(base, b"%d" % number, if_version=None).version
                assert (store.get(base).value, store.get(base).version) == (b"%d" % number, version)
        finally:
            stop.set()
            thread.join()

    # the connection goes

    def test_cut_off_is_suspended_and_fails_at_once(self, rig: StoreRig, store: Store, base: str) -> None:
        store.create(base, b"1", ephemeral=True)
        states = _states(store)
        before = store.session()
        rig.cut(store)
        rig.eventually(lambda: store.session().state is SessionState.SUSPENDED)
        begin_s = time.monotonic()
        for ask in (lambda: store.get(base), lambda: store.put(base, b"2", if_version=None), lambda: store.tree(base)):
            with pytest.raises(StoreUnavailable, match=base) as caught:
                ask()
            assert caught.value.maybe_written is False
        assert time.monotonic() - begin_s < 0.5
        rig.mend(store)
        rig.eventually(lambda: store.session() == before)
        assert store.get(base).value == b"1"
        rig.eventually(lambda: states == [SessionState.SUSPENDED, SessionState.CONNECTED])

    def test_nothing_is_missed_while_cut_off(self, rig: StoreRig, store: Store, base: str) -> None:
        other, heard = rig.client(), Heard()
        store.watch(base, heard)
        rig.eventually(lambda: heard.keys)
        for number in range(3):
            rig.cut(store)
            rig.eventually(lambda: store.session().state is SessionState.SUSPENDED)
            other.create(f"{base}/{number}", b"")
            heard.forget()
            rig.mend(store)
            rig.eventually(lambda: None in heard.keys)
            assert store.tree(base) == other.tree(base)
            heard.forget()
            other.create(f"{base}/{number}/after", b"")
            rig.eventually(partial(contains, heard.keys, f"{base}/{number}/after"))

    def test_a_write_whose_answer_is_lost_may_have_happened(self, rig: StoreRig, store: Store, base: str) -> None:
        store.create(base, b"0")
        asks: list[Callable[[], object]] = [
            lambda: store.put(base, b"1", if_version=0),
            lambda: store.create(f"{base}/a", b""),
            lambda: store.commit([Put(base, b"2", 1), Create(f"{base}/b", b"")]),
            lambda: store.delete(f"{base}/a", if_version=0),
        ]
        for ask in asks:
            rig.cut_before_answer(store)
            with pytest.raises(StoreUnavailable) as caught:
                ask()
            assert caught.value.maybe_written is True
            rig.eventually(lambda: store.session().state is SessionState.CONNECTED)
        assert store.get(base).value == b"2"
        assert store.children(base) == ["b"]

    # the server goes

    def test_a_frozen_server_is_suspended_and_comes_back(self, rig: StoreRig, store: Store, base: str) -> None:
        store.create(base, b"", ephemeral=True)
        before, heard = store.session(), Heard()
        store.watch(base, heard)
        rig.eventually(lambda: heard.keys)
        heard.forget()
        rig.freeze()
        rig.eventually(lambda: store.session().state is SessionState.SUSPENDED)
        rig.thaw()
        rig.eventually(lambda: store.session() == before)
        rig.eventually(lambda: None in heard.keys)
        assert store.get(base).ephemeral

    def test_a_hanging_server_is_noticed_though_one_goes_on_writing(
        self, rig: StoreRig, store: Store, base: str
    ) -> None:
        if not rig.capabilities.hangs:
            pytest.skip("capability hangs is absent: this server cannot fall silent with its connections standing")
        store.create(base, b"")
        store.put(base, b"", if_version=None)
        frozen_s = time.monotonic()
        rig.freeze()
        suspended_s: float | None = None
        while time.monotonic() - frozen_s < 4 * DEADLINE_S:
            begin_s = time.monotonic()
            with pytest.raises(StoreUnavailable) as caught:
                store.put(base, b"x", if_version=None)
            assert time.monotonic() - begin_s < DEADLINE_S + 0.3
            if suspended_s is None and store.session().state is SessionState.SUSPENDED:
                suspended_s = time.monotonic() - frozen_s
            assert caught.value.maybe_written is (begin_s - frozen_s < 0.5), "only the first one was sent"
            time.sleep(max(0.0, begin_s + 1.0 - time.monotonic()))
        assert suspended_s is not None
        assert suspended_s < 2 * DEADLINE_S
        rig.thaw()
        rig.eventually(lambda: store.session().state is SessionState.CONNECTED, timeout_s=5)
        store.put(base, b"back", if_version=None)

    def test_deadlines_hold(self, rig: StoreRig, store: Store, base: str) -> None:
        if not rig.capabilities.hangs:
            pytest.skip("capability hangs is absent: this server cannot fall silent with its connections standing")
        store.create(base, b"")
        rig.freeze()
        for deadline_s in (0.1, 0.4):
            begin_s = time.monotonic()
            with pytest.raises(StoreUnavailable):
                store.get(base, deadline_s=deadline_s)
            assert deadline_s * 0.9 <= time.monotonic() - begin_s < deadline_s + 0.3
        assert store.session().state is SessionState.CONNECTED, "one impatient caller does not cut the others off"

    def test_what_was_acknowledged_survives_a_restart(self, rig: StoreRig, store: Store, base: str) -> None:
        store.create(f"{base}/a", b"0")
        store.create(f"{base}/mine", b"", ephemeral=True)
        last = store.put(f"{base}/a", b"1", if_version=0)
        states, before, heard = _states(store), store.session(), Heard()
        store.watch(base, heard)
        rig.eventually(lambda: heard.keys)
        heard.forget()
        rig.restart()
        rig.eventually(lambda: store.session().state is SessionState.CONNECTED and None in heard.keys)
        assert store.get(f"{base}/a") == last
        assert store.put(f"{base}/a", b"2", if_version=1).stamp > last.stamp
        if rig.capabilities.sessions_survive_restart:
            assert store.session().id == before.id
            assert store.children(base) == ["a", "mine"]
        else:
            assert store.session().id != before.id
            assert SessionState.LOST in states
            assert store.children(base) == ["a"]
        heard.forget()
        store.create(f"{base}/b", b"")
        rig.eventually(lambda: f"{base}/b" in heard.keys)

    # the session goes

    def test_an_expired_session_is_lost_and_a_new_one_opened(self, rig: StoreRig, store: Store, base: str) -> None:
        other, heard = rig.client(), Heard()
        store.create(f"{base}/mine", b"", ephemeral=True)
        store.watch(base, heard)
        rig.eventually(lambda: heard.keys)
        states, before = _states(store), store.session()
        heard.forget()
        rig.expire(store)
        rig.eventually(lambda: store.session().id != before.id and store.session().state is SessionState.CONNECTED)
        rig.eventually(lambda: states[-2:] == [SessionState.LOST, SessionState.CONNECTED])
        rig.eventually(lambda: None in heard.keys)
        rig.eventually(lambda: other.children(base) == [])
        store.create(f"{base}/mine", b"", ephemeral=True)
        rig.eventually(lambda: f"{base}/mine" in heard.keys)

    def test_close_is_final_and_may_be_repeated(self, rig: StoreRig, base: str) -> None:
        store = rig.client()
        store.close()
        store.close()
        assert store.session().state is SessionState.CLOSED
        with pytest.raises(StoreUnavailable) as caught:
            store.create(base, b"")
        assert caught.value.maybe_written is False

    def test_close_does_not_wait_for_a_frozen_server(self, rig: StoreRig, store: Store) -> None:
        rig.freeze()
        begin_s = time.monotonic()
        store.close()
        assert time.monotonic() - begin_s < 3 * DEADLINE_S

    def test_errors_say_what_was_tried_on_what(self, store: Store, base: str) -> None:
        store.create(base, b"")
        problems: list[PvcError] = []
        for ask in (
            lambda: store.create(base, b""),
            lambda: store.put(base, b"", if_version=9),
            lambda: store.get(f"{base}/absent"),
            lambda: store.commit([Check(base, 9)]),
        ):
            with pytest.raises(PvcError) as caught:
                ask()
            problems.append(caught.value)
        assert all(problem.message.startswith("cannot ") and base in problem.message for problem in problems)


def _states(store: Store) -> list[SessionState]:
    states: list[SessionState] = []

    def note(session: Session) -> None:
        states.append(session.state)

    store.on_session(note)
    return states


def _at_once(tasks: list[Callable[[], None]]) -> None:
    failures: list[BaseException] = []

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001 - reported below, in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


__all__ = ["DEADLINE_S", "HOSTILE_KEYS", "Capabilities", "Entry", "StoreContract", "StoreRig"]
