"""Records as of one moment, while another client writes all the time."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from pvc_core.cluster.snapshot import snapshot
from pvc_core.errors import Retry
from pvc_core.store.base import Create, Delete, Entry, Put, Store
from pvc_core.testing.store import FakeStoreServer

MARK = Create("/mark", b"")
LIVES = 100
"""So many others are made before one is removed again: longer than a reading takes (see snapshot's docstring)."""


class Between(Store):
    """The store as a reader meets it: before each of its calls, and between the keys of a tree, somebody writes."""

    def __init__(self, store: Store, write: Callable[[], None]) -> None:
        self._store, self._write = store, write

    def get(self, key: str, *, deadline_s: float | None = None) -> Entry:
        self._write()
        return self._store.get(key)

    def tree(self, prefix: str, *, deadline_s: float | None = None) -> dict[str, Entry]:
        found = {}
        for name in self._store.children(prefix):
            self._write()
            key = f"{prefix}/{name}"
            entry = self._store.tree(key).get(key)
            if entry is not None:
                found[key] = entry
        return found

    def commit(self, ops, *, deadline_s: float | None = None):
        self._write()
        return self._store.commit(ops)

    def children(self, key: str, *, deadline_s: float | None = None) -> list[str]:
        return self._store.children(key)

    create = put = delete = watch = session = on_session = close = None


class Writer:
    """Keeps one rule in every commit: all of a group carry the same number. So every moment is told by its numbers."""

    def __init__(self, store: Store, seed: int, *, keys: int, groups: int, rate: float) -> None:
        self.store, self.random, self.rate = store, random.Random(seed), rate
        self.groups = [[f"/a/k{group}-{number}" for number in range(keys)] for group in range(groups)]
        self.numbers = [0] * groups
        self.extra = 0
        for keys_ in self.groups:
            for key in keys_:
                store.create(key, b"0")

    def write(self) -> None:
        while self.random.random() < self.rate:
            group = self.random.randrange(len(self.groups))
            self.numbers[group] += 1
            value = b"%d" % self.numbers[group]
            ops: list[Put | Create | Delete] = [Put(key, value, None) for key in self.groups[group]]
            if self.random.random() < 0.3:  # two that come and go together
                self.extra += 1
                ops += [Create(f"/a/x{self.extra}-{side}", b"x") for side in ("one", "two")]
                if self.extra > LIVES:
                    ops += [Delete(f"/a/x{self.extra - LIVES}-{side}", None) for side in ("one", "two")]
            self.store.commit(ops)


def is_one_moment(found: dict[str, Entry], writer: Writer) -> None:
    for keys in writer.groups:
        assert len({found[key].value for key in keys}) == 1, {key: found[key].value for key in keys}
    extra = {key.partition("-")[0] for key in found if "/x" in key}
    assert {key for key in found if "/x" in key} == {f"{one}-{side}" for one in extra for side in ("one", "two")}


@pytest.mark.parametrize("seed", range(60))
def test_it_is_one_moment_whatever_is_written_between_its_reads(seed: int) -> None:
    store = FakeStoreServer(auto=True).client()
    chance = random.Random(seed)
    groups, rate = chance.choice([(1, 0.3), (4, 0.15), (12, 0.1), (12, 0.02)])
    writer = Writer(store, seed, keys=chance.choice([2, 5]), groups=groups, rate=rate)
    found = snapshot(Between(store, writer.write), ["/a"], MARK)
    is_one_moment(found, writer)


def test_a_plain_reading_would_be_torn() -> None:
    """The test above can fail: reading once finds what never was."""
    torn = 0
    for seed in range(20):
        store = FakeStoreServer(auto=True).client()
        writer = Writer(store, seed, keys=5, groups=4, rate=0.3)
        found = Between(store, writer.write).tree("/a")
        torn += any(len({found[key].value for key in keys}) > 1 for keys in writer.groups)
    assert torn > 10


def test_it_gives_up_in_words_when_nothing_ever_stands_still() -> None:
    store = FakeStoreServer(auto=True).client()
    writer = Writer(store, 1, keys=2, groups=1, rate=0.0)

    def always() -> None:
        writer.rate = 0.9
        writer.write()
        writer.numbers[0] += 1
        store.commit([Put(key, b"%d" % writer.numbers[0], None) for key in writer.groups[0]])

    with pytest.raises(Retry, match="change too fast"):
        snapshot(Between(store, always), ["/a"], MARK)


def test_with_a_writer_of_its_own_thread() -> None:
    server = FakeStoreServer(auto=True)
    writer, stop = Writer(server.client(), 5, keys=3, groups=20, rate=0.8), threading.Event()

    def furious() -> None:
        while not stop.is_set():
            writer.write()

    thread = threading.Thread(target=furious)
    thread.start()
    try:
        reader = server.client()
        for number in range(5):
            is_one_moment(snapshot(reader, ["/a"], Create(f"/mark{number}", b"")), writer)
    finally:
        stop.set()
        thread.join()
