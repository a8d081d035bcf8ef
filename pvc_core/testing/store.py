# SPDX-License-Identifier: LGPL-3.0-or-later
"""A store in memory with several clients, and faults on demand; for the simulator and for tests without daemons.

The data are pvcstored's own tree, so versions, stamps and refusals are the real ones; there is no wire, no disk and no
thread. Nothing happens but when asked: wakes wait for FakeStoreServer.deliver(), or are called at the end of the call
that caused them with auto=True.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from pvc_core.errors import StoreUnavailable
from pvc_core.store.base import Check, Create, Delete, Entry, Op, Put, Session, SessionState, Store, Wake, Watch
from pvc_core.store.codes import error_for, raise_commit_failure
from pvc_core.store.embedded.protocol import Declined, Event
from pvc_core.store.embedded.rights import OPEN
from pvc_core.store.embedded.tree import Node, Tree
from pvc_core.store.keys import checked_key, checked_ops, checked_value, is_at_or_below, missing_first

Answer = TypeVar("Answer")


class FakeStoreServer:
    """The data all clients share. `advance` moves the test's clock when an answer is delayed (seconds)."""

    def __init__(self, *, auto: bool = False, advance: Callable[[float], None] | None = None) -> None:
        self.auto = auto
        self.advance = advance or (lambda seconds: None)
        self.lock = threading.RLock()
        self.tree = Tree(first_zxid=1)
        self.clients: list[FakeStore] = []
        self._due: deque[Callable[[], None]] = deque()
        self._last_session_id = 0

    def client(self, name: str = "client") -> FakeStore:
        """A new client with a session of its own; `name` stands in its errors."""
        store = FakeStore(self, name)
        self.clients.append(store)
        return store

    def deliver(self) -> int:
        """Call every wake that is due, and those that become due meanwhile; how many there were."""
        count = 0
        while self._due:
            self._due.popleft()()
            count += 1
        return count

    def cut(self) -> None:
        """No client hears the server any more."""
        for client in self.clients:
            client.cut()

    def mend(self) -> None:
        for client in self.clients:
            client.mend()

    def restart(self, *, sessions_live: bool = False) -> None:
        """Down and up again. pvcstored's sessions die with it, an ensemble's live."""
        self.cut()
        if not sessions_live:
            for client in self.clients:
                client.expire()
        self.mend()

    # for FakeStore

    def new_session_id(self) -> int:
        self._last_session_id += 1
        return self._last_session_id

    def later(self, wake: Callable[[], None]) -> None:
        self._due.append(wake)

    def settle(self) -> None:
        if self.auto:
            self.deliver()

    def spread(self) -> None:
        """Every connected client hears of what was just changed."""
        events, self.tree.events = self.tree.events, []
        self.tree.undo.forget()
        self.tree.changed.clear()
        for event, path in events:
            if event is not Event.CHILDREN:
                for client in self.clients:
                    client.hear(path)


class FakeStore(Store):
    """One client. The methods under "faults" are the test's, the others the contract's."""

    def __init__(self, server: FakeStoreServer, name: str) -> None:
        self.name = name
        self._server = server
        self._session = Session(server.new_session_id(), SessionState.CONNECTED)
        self._watches: list[_FakeWatch] = []
        self._listeners: list[Callable[[Session], None]] = []
        self._reachable = True
        self._next_write: str | None = None
        self._next_delay_s = 0.0

    # faults

    def cut(self) -> None:
        """The connection is gone: SUSPENDED. The session lives on the server; what was to be heard is not."""
        self._reachable = False
        if self._session.state is SessionState.CONNECTED:
            self._move(self._session.id, SessionState.SUSPENDED)

    def mend(self) -> None:
        """Connected again, with the old session if it still lives; every watch says that anything may have changed."""
        if self._reachable or self._session.state is SessionState.CLOSED:
            return
        self._reachable = True
        lost = self._session.state is SessionState.LOST
        self._move(self._server.new_session_id() if lost else self._session.id, SessionState.CONNECTED)
        self._wake_all()

    def expire(self) -> None:
        """The server ends the session: its ephemeral keys go, and a new one is opened once the server is reached."""
        with self._server.lock:
            self._end_session()
        self._move(self._session.id, SessionState.LOST)
        if self._reachable:
            self._move(self._server.new_session_id(), SessionState.CONNECTED)
            self._wake_all()
        self._server.settle()

    def lose_next_answer(self) -> None:
        """The next write happens, its answer is lost with the connection, which comes back at once."""
        self._next_write = "lose"

    def refuse_next_write(self) -> None:
        """The next write does not reach the server."""
        self._next_write = "refuse"

    def delay_next_call(self, seconds: float) -> None:
        """The next call takes so long; beyond its deadline it has no answer, though a write happens all the same."""
        self._next_delay_s = seconds

    # the contract

    def get(self, key: str, *, deadline_s: float | None = None) -> Entry:
        checked_key(key)
        return self._call("read", key, deadline_s, lambda tree: _entry(key, tree.find(key)))

    def children(self, key: str, *, deadline_s: float | None = None) -> list[str]:
        checked_key(key)
        return self._call("list", key, deadline_s, lambda tree: sorted(tree.find(key).children or ()))

    def tree(self, prefix: str, *, deadline_s: float | None = None) -> dict[str, Entry]:
        checked_key(prefix)
        return self._call("read", prefix, deadline_s, lambda tree: dict(_walk(tree, prefix)))

    def create(self, key: str, value: bytes, *, ephemeral: bool = False, deadline_s: float | None = None) -> Entry:
        checked_value(checked_key(key), value)

        def work(tree: Tree) -> Entry:
            self._make_parents(tree, key)
            return self._apply(tree, Create(key, value, ephemeral))

        return self._write("create", key, deadline_s, work)

    def put(self, key: str, value: bytes, *, if_version: int | None, deadline_s: float | None = None) -> Entry:
        checked_value(checked_key(key), value)
        return self._write("write", key, deadline_s, lambda tree: self._apply(tree, Put(key, value, if_version)))

    def delete(self, key: str, *, if_version: int | None, deadline_s: float | None = None) -> None:
        checked_key(key)
        self._write("delete", key, deadline_s, lambda tree: self._apply(tree, Delete(key, if_version)))

    def commit(self, ops: Sequence[Op], *, deadline_s: float | None = None) -> list[Entry | None]:
        if not checked_ops(ops):
            return []
        return self._write("commit", ops[0].key, deadline_s, lambda tree: self._commit(tree, ops))

    def watch(self, prefix: str, wake: Wake) -> Watch:
        watch = _FakeWatch(checked_key(prefix), wake, self._watches.remove)
        self._watches.append(watch)
        if self._reachable:
            self._server.later(lambda: watch.due(None))
            self._server.settle()
        return watch

    def session(self) -> Session:
        return self._session

    def on_session(self, wake: Callable[[Session], None]) -> None:
        self._listeners.append(wake)

    def close(self) -> None:
        if self._session.state is SessionState.CLOSED:
            return
        if self._reachable:
            with self._server.lock:
                self._end_session()
        self._reachable = False
        self._move(self._session.id, SessionState.CLOSED)
        for watch in list(self._watches):
            watch.stop()

    # for the server

    def hear(self, path: str) -> None:
        if not self._reachable:
            return
        for watch in self._watches:
            if is_at_or_below(path, watch.prefix):
                self._server.later(partial(watch.due, path))

    # one call

    def _call(self, verb: str, key: str, deadline_s: float | None, work: Callable[[Tree], Answer]) -> Answer:
        if not self._reachable:
            raise self._unavailable(verb, key, "there is no connection", maybe_written=False)
        with self._server.lock:
            try:
                answer = work(self._server.tree)
            except Declined as declined:
                raise error_for(declined.code, verb, key, user=None) from None
        self._wait(verb, key, deadline_s)
        return answer

    def _write(self, verb: str, key: str, deadline_s: float | None, work: Callable[[Tree], Answer]) -> Answer:
        fault, self._next_write = self._next_write, None
        if fault == "refuse":
            raise self._unavailable(verb, key, "the connection went before it was sent", maybe_written=False)

        def kept(tree: Tree) -> Answer:
            mark = tree.undo.mark()
            tree.next_zxid()
            try:
                return work(tree)
            except BaseException:  # an interruption too: what was begun is undone, and it is raised on
                tree.take_back(mark)
                raise
            finally:
                self._server.spread()

        try:
            answer = self._call(verb, key, deadline_s, kept)
        finally:
            self._server.settle()
        if fault == "lose":
            self.cut()
            self.mend()
            self._server.settle()
            raise self._unavailable(verb, key, "the connection went before the answer", maybe_written=True)
        return answer

    def _wait(self, verb: str, key: str, deadline_s: float | None) -> None:
        delay_s, self._next_delay_s = self._next_delay_s, 0.0
        if not delay_s:
            return
        limit_s = 5.0 if deadline_s is None else deadline_s
        self._server.advance(min(delay_s, limit_s))
        if delay_s > limit_s:
            maybe_written = verb not in ("read", "list")
            raise self._unavailable(verb, key, "it did not answer in time", maybe_written=maybe_written)

    def _commit(self, tree: Tree, ops: Sequence[Op]) -> list[Entry | None]:
        mark = tree.undo.mark()
        made = {op.key for op in ops if isinstance(op, Create)}
        for op in ops:
            if isinstance(op, Create):
                self._make_parents(tree, op.key, besides=made)
        answers: list[Entry | None] = []
        for op in ops:
            try:
                entry = self._apply(tree, op)
            except Declined as declined:
                tree.take_back(mark)
                raise_commit_failure(op, declined.code)
            answers.append(entry if isinstance(op, Create | Put) else None)
        return answers

    def _make_parents(self, tree: Tree, key: str, besides: set[str] | None = None) -> None:
        for parent in missing_first(key):
            if tree.peek(parent) is None and parent not in (besides or ()):
                tree.create(parent, b"", OPEN, set())

    def _apply(self, tree: Tree, op: Op) -> Entry:
        match op:
            case Create():
                _, node = tree.create(op.key, op.value, OPEN, set(), owner=self._session.id if op.ephemeral else 0)
                return _entry(op.key, node)
            case Put():
                return _entry(op.key, tree.set_data(op.key, op.value, _any(op.if_version), set()))
            case Delete():
                gone = tree.find(op.key)
                tree.delete(op.key, _any(op.if_version), set())
                return _entry(op.key, gone)
            case Check():
                tree.check(op.key, op.version, set())
                return _entry(op.key, tree.find(op.key))

    # sessions

    def _end_session(self) -> None:
        self._server.tree.next_zxid()
        self._server.tree.end_session(self._session.id)
        self._server.spread()

    def _move(self, session_id: int, state: SessionState) -> None:
        session = self._session = Session(session_id, state)
        for listener in self._listeners:
            self._server.later(partial(listener, session))
        self._server.settle()

    def _wake_all(self) -> None:
        for watch in self._watches:
            self._server.later(partial(watch.due, None))
        self._server.settle()

    def _unavailable(self, verb: str, key: str, why: str, *, maybe_written: bool) -> StoreUnavailable:
        return StoreUnavailable(f"cannot {verb} {key}: the store of {self.name}: {why}", maybe_written=maybe_written)


class _FakeWatch(Watch):
    def __init__(self, prefix: str, wake: Wake, forget: Callable[[_FakeWatch], None]) -> None:
        self.prefix = prefix
        self._wake: Wake | None = wake
        self._forget = forget

    def due(self, key: str | None) -> None:
        if self._wake:
            self._wake(key)

    def stop(self) -> None:
        if self._wake:
            self._wake = None
            self._forget(self)


def _entry(key: str, node: Node) -> Entry:
    return Entry(key, node.data or b"", node.version, node.mzxid, node.owner != 0)


def _walk(tree: Tree, key: str) -> Iterator[tuple[str, Entry]]:
    node = tree.peek(key)
    if node is None:
        return
    yield key, _entry(key, node)
    for name in sorted(node.children or ()):
        yield from _walk(tree, f"/{name}" if key == "/" else f"{key}/{name}")


def _any(version: int | None) -> int:
    return -1 if version is None else version
