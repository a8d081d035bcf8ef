"""kill -9 of pvcstored at seeded random moments under load: what was acknowledged is there, nothing is there by half.

Each writer owns some keys and knows what was acknowledged; a write without an answer may have happened, as a whole.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pvc_core.errors import StoreUnavailable
from pvc_core.store.base import Create, Delete, Entry, Op, Put, SessionState, Store
from pvc_core.store.zookeeper import ZooKeeperStore

from .rigs import Pvcstored

pytestmark = pytest.mark.system

ROUNDS = 14
WRITERS = 4
SEED = 20


State = dict[str, tuple[bytes, int]]
"""Key -> (value, version) as acknowledged."""


@dataclass
class Writer:
    """Changes its own keys, one or several in a commit, until the store is gone."""

    name: str
    dice: random.Random
    state: State = field(default_factory=dict)
    in_doubt: State | None = None
    acknowledged: int = 0

    def run(self, store: Store) -> None:
        self.in_doubt = None
        while True:
            after, ops = self._next()
            try:
                entries = store.commit(ops) if len(ops) > 1 or self.dice.random() < 0.3 else [_alone(store, ops[0])]
            except StoreUnavailable as error:
                self.in_doubt = after if error.maybe_written else None
                return
            for entry in entries:
                assert entry is None or after[entry.key] == (entry.value, entry.version)
            self.state = after
            self.acknowledged += 1

    def check(self, found: State) -> None:
        assert found in (self.state, self.in_doubt), f"{self.name}: acknowledged {self.state}, found {found}"
        self.state = found

    def _next(self) -> tuple[State, list[Op]]:
        after, ops = dict(self.state), list[Op]()
        for number in self.dice.sample(range(6), self.dice.randint(1, 4)):
            key = f"/kill/{self.name}/{number}"
            value = self.dice.randbytes(self.dice.choice([0, 10, 3000, 60_000]))
            if key not in after:
                ops.append(Create(key, value))
                after[key] = (value, 0)
            elif self.dice.random() < 0.2:
                ops.append(Delete(key, after.pop(key)[1]))
            else:
                version = after[key][1]
                ops.append(Put(key, value, version))
                after[key] = (value, version + 1)
        return after, ops


def _alone(store: Store, op: Op) -> Entry | None:
    match op:
        case Create():
            return store.create(op.key, op.value)
        case Put():
            return store.put(op.key, op.value, if_version=op.if_version)
    assert isinstance(op, Delete)
    store.delete(op.key, if_version=op.if_version)
    return None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Pvcstored]:
    server = Pvcstored(tmp_path)
    server.start()
    yield server
    server.kill()


def _client(server: Pvcstored) -> ZooKeeperStore:
    return ZooKeeperStore(server.hosts, call_deadline_s=5.0, session_timeout_s=4.0)


def test_nothing_acknowledged_is_lost_and_nothing_is_half_done(server: Pvcstored) -> None:
    dice = random.Random(SEED)
    writers = [Writer(f"w{number}", random.Random(dice.random())) for number in range(WRITERS)]
    stamp = 0
    for _ in range(ROUNDS):
        clients = [_client(server) for _ in writers]
        threads = [threading.Thread(target=w.run, args=(c,)) for w, c in zip(writers, clients, strict=True)]
        for thread in threads:
            thread.start()
        time.sleep(dice.uniform(0.02, 0.5))
        server.kill()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        for client in clients:
            client.close()
        if dice.random() < 0.4:
            _die_while_starting(server, dice)
        server.start()
        reader = _client(server)
        found = reader.tree("/kill")
        for writer in writers:
            mine = {k: (e.value, e.version) for k, e in found.items() if k.startswith(f"/kill/{writer.name}/")}
            writer.check(mine)
        newest = max((entry.stamp for entry in found.values()), default=0)
        probe = reader.create("/probe", b"").stamp
        reader.delete("/probe", if_version=0)
        reader.close()
        assert stamp <= newest < probe, "stamps never go back"
        stamp = newest
    assert sum(writer.acknowledged for writer in writers) > 20 * ROUNDS, "there was hardly any load"


def test_ephemeral_keys_are_gone_after_a_kill(server: Pvcstored) -> None:
    store = _client(server)
    store.create("/e/mine", b"", ephemeral=True)
    store.create("/e/stays", b"")
    server.restart()
    reader = _client(server)
    try:
        assert reader.children("/e") == ["stays"]
        end_s = time.monotonic() + 10
        while store.session().state is not SessionState.CONNECTED and time.monotonic() < end_s:
            time.sleep(0.02)
        assert store.children("/e") == ["stays"]
    finally:
        reader.close()
        store.close()


def _die_while_starting(server: Pvcstored, dice: random.Random) -> None:
    starter = threading.Thread(target=_start_and_forget, args=(server,))
    starter.start()
    time.sleep(dice.uniform(0.05, 0.5))
    server.kill()
    starter.join()


def _start_and_forget(server: Pvcstored) -> None:
    try:
        server.start()
    except AssertionError:
        pass  # it was killed meanwhile, that is the point
