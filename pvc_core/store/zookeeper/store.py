"""The ten primitives over a Link: what is asked, and what each answer means."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from kazoo.protocol.serialization import Delete as DeletePacket
from kazoo.protocol.serialization import GetChildren, GetData, SetData
from kazoo.protocol.states import KeeperState, ZnodeStat
from kazoo.security import ACL

from pvc_core.errors import StoreUnavailable
from pvc_core.store import codes
from pvc_core.store.access import Credentials, GrantsFor
from pvc_core.store.base import Create, Entry, Op, Put, Session, SessionState, Store, Wake, Watch
from pvc_core.store.codes import Code
from pvc_core.store.keys import checked_key, checked_ops, checked_value, missing_first
from pvc_core.store.zookeeper import packets
from pvc_core.store.zookeeper.link import FORGET_S, Link
from pvc_core.store.zookeeper.order import Order
from pvc_core.store.zookeeper.sessions import SessionKeeper
from pvc_core.store.zookeeper.trees import read_tree
from pvc_core.store.zookeeper.watching import Dispatcher, WatchTable

_log = logging.getLogger(__name__)

_PARENT_ATTEMPTS = 5
"""How often a create may find a parent missing again: someone else is then removing it as fast as we make it."""


class ZooKeeperStore(Store):
    """A client of ZooKeeper or pvcstored. `hosts` is "host:port,host:port".

    Begins to connect at once and never gives up. Until the first connection calls wait (within their deadline); after
    it they fail at once while there is none. `acl` gives the grants of each new key (None: everyone who is let in);
    `tls` (see tls.py) is for servers that speak it.
    `call_deadline_s` is the default deadline, and the longest a server may be silent before another is dialled.
    Raises nothing: a store that cannot be reached is a StoreUnavailable of the first call.
    """

    def __init__(
        self,
        hosts: str,
        *,
        credentials: Credentials | None = None,
        tls: ssl.SSLContext | None = None,
        acl: GrantsFor | None = None,
        session_timeout_s: float = 6.0,
        call_deadline_s: float = 5.0,
        forget_s: float = FORGET_S,
    ) -> None:
        self._hosts = hosts
        self._user = credentials.user if credentials else None
        self._grants_for = acl
        self._call_deadline_s = call_deadline_s
        self._closing = threading.Event()
        self._dispatcher = Dispatcher()
        self._watches = WatchTable(self._dispatcher)
        self._sessions = SessionKeeper(self._dispatcher)
        self._link = Link(
            hosts,
            credentials=credentials,
            tls=tls,
            session_timeout_s=session_timeout_s,
            call_deadline_s=call_deadline_s,
            on_event=self._watches.changed,
            on_state=self._on_state,
            forget_s=forget_s,
        )
        self._link.start_async()

    # reading

    def get(self, key: str, *, deadline_s: float | None = None) -> Entry:
        value, stat = self._ask(GetData(checked_key(key), None), "read", key, self._until(deadline_s))
        return _entry(key, value or b"", stat)

    def children(self, key: str, *, deadline_s: float | None = None) -> list[str]:
        return sorted(self._ask(GetChildren(checked_key(key), None), "list", key, self._until(deadline_s)))

    def tree(self, prefix: str, *, deadline_s: float | None = None) -> dict[str, Entry]:
        checked_key(prefix)
        until_s = self._until(deadline_s)
        return read_tree(
            prefix, lambda packet: self._post(packet, "read", prefix, until_s), self._collector(prefix, until_s)
        )

    # writing

    def create(self, key: str, value: bytes, *, ephemeral: bool = False, deadline_s: float | None = None) -> Entry:
        checked_value(checked_key(key), value)
        until_s = self._until(deadline_s)
        packet = packets.create_packet(key, value, ephemeral, self._acl(key))
        for _ in range(_PARENT_ATTEMPTS):
            order = self._answered(packet, "create", key, until_s)
            if order.code != Code.NO_NODE:
                break
            self._make_parents(key, until_s)
        if order.code:
            self._fail(order.code, "create", key)
        _, stat = order.value
        return _entry(key, value, stat)

    def put(self, key: str, value: bytes, *, if_version: int | None, deadline_s: float | None = None) -> Entry:
        checked_value(checked_key(key), value)
        version = -1 if if_version is None else if_version
        stat = self._ask(SetData(key, value, version), "write", key, self._until(deadline_s))
        return _entry(key, value, stat)

    def delete(self, key: str, *, if_version: int | None, deadline_s: float | None = None) -> None:
        checked_key(key)
        version = -1 if if_version is None else if_version
        self._ask(DeletePacket(key, version), "delete", key, self._until(deadline_s))

    def commit(self, ops: Sequence[Op], *, deadline_s: float | None = None) -> list[Entry | None]:
        if not checked_ops(ops):
            return []
        until_s = self._until(deadline_s)
        packet = packets.Multi([packets.op_packet(op, self._acl(op.key)) for op in ops])
        for _ in range(_PARENT_ATTEMPTS):
            order = self._answered(packet, "commit", ops[0].key, until_s)
            if order.code:
                self._fail(order.code, "commit", ops[0].key)
            failed = _first_failure(order.value)
            if failed is None:
                return [_entry_of(op, stat, order.zxid) for op, stat in zip(ops, order.value, strict=True)]
            op, code = ops[failed], order.value[failed].code
            if code != Code.NO_NODE or not isinstance(op, Create):
                break
            self._make_parents(op.key, until_s)
        codes.raise_commit_failure(op, code)

    # watching

    def watch(self, prefix: str, wake: Wake) -> Watch:
        watch, must_ask = self._watches.add(checked_key(prefix), wake)
        if must_ask and self._link.connected:
            self._set_watch(prefix)
        return watch

    def session(self) -> Session:
        return self._sessions.now()

    def on_session(self, wake: Callable[[Session], None]) -> None:
        self._sessions.listen(wake)

    def close(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        self._link.halt(self._call_deadline_s)
        self._sessions.move(SessionState.CLOSED)
        self._dispatcher.stop(self._call_deadline_s)

    # one call

    def _until(self, deadline_s: float | None) -> float:
        return time.monotonic() + (self._call_deadline_s if deadline_s is None else deadline_s)

    def _ask(self, packet: Any, verb: str, key: str, until_s: float) -> Any:
        order = self._answered(packet, verb, key, until_s)
        if order.code:
            self._fail(order.code, verb, key)
        return order.value

    def _answered(self, packet: Any, verb: str, key: str, until_s: float) -> Order:
        order = self._post(packet, verb, key, until_s)
        self._collect(order, verb, key, until_s)
        return order

    def _post(self, packet: Any, verb: str, key: str, until_s: float) -> Order:
        """Send, if there is a connection to send on; otherwise say so at once."""
        if not self._link.connected and not self._sessions.await_first(until_s - time.monotonic()):
            raise self._unavailable(verb, key, "there is no connection", maybe_written=False)
        if not self._link.connected:
            raise self._unavailable(verb, key, "the connection is gone", maybe_written=False)
        order = Order(packet)
        self._link.send(order)
        return order

    def _collect(self, order: Order, verb: str, key: str, until_s: float) -> None:
        self._link.await_answer(order, until_s)
        if order.answered:
            return
        maybe_written = order.type in codes.WRITES and not order.withdraw()
        raise self._unavailable(verb, key, "it gave no answer", maybe_written=maybe_written)

    def _collector(self, prefix: str, until_s: float) -> Callable[[Order], Any]:
        def collect(order: Order) -> Any:
            self._collect(order, "read", prefix, until_s)
            if order.code:
                self._fail(order.code, "read", prefix)
            return order.value

        return collect

    def _make_parents(self, key: str, until_s: float) -> None:
        for parent in missing_first(key):
            order = self._answered(
                packets.create_packet(parent, b"", False, self._acl(parent)), "create", parent, until_s
            )
            if order.code not in (0, Code.NODE_EXISTS):
                self._fail(order.code, "create", parent)

    def _acl(self, key: str) -> Sequence[ACL]:
        return packets.acl_of(self._grants_for(key)) if self._grants_for else packets.OPEN_ACL

    # failures

    def _fail(self, code: int, verb: str, key: str) -> NoReturn:
        raise codes.error_for(code, verb, key, user=self._user)

    def _unavailable(self, verb: str, key: str, why: str, *, maybe_written: bool) -> StoreUnavailable:
        help = "it may have happened all the same: read before you act" if maybe_written else "look whether it runs"
        if self._closing.is_set():
            why, help = "this client of it was closed", ""
        elif self._sessions.credentials_refused:
            why, help = (
                f"it refuses the credentials of user {self._user!r}",
                "its secret here and there must be the same",
            )
        return StoreUnavailable(
            f"cannot {verb} {key}: the store at {self._hosts}: {why}", maybe_written=maybe_written, help=help
        )

    # the connection's thread calls these

    def _on_state(self, state: KeeperState) -> None:
        if state != KeeperState.CONNECTED:
            self._watches.fell()
        if self._closing.is_set():
            return
        self._sessions.follow(state, self._link.session_id)
        if state == KeeperState.CONNECTED:
            for prefix in self._watches.prefixes():
                self._set_watch(prefix)
        elif state == KeeperState.CLOSED:
            threading.Thread(target=self._revive, name="store-revive", daemon=True).start()

    def _set_watch(self, prefix: str) -> None:
        def done(order: Order) -> None:
            if order.answered and order.code == 0:
                self._watches.stands(prefix)
            elif order.answered:
                _log.error("the store at %s refused to watch %s (code %d)", self._hosts, prefix, order.code)

        self._link.send(Order(packets.AddWatch(prefix), done))

    def _revive(self) -> None:
        """kazoo gave up; an operator may mend what made it."""
        if not self._closing.wait(1.0):
            self._link.revive()


def _entry(key: str, value: bytes, stat: ZnodeStat) -> Entry:
    return Entry(key, value, stat.version, stat.mzxid, stat.ephemeralOwner != 0)


def _entry_of(op: Op, stat: ZnodeStat | None, zxid: int) -> Entry | None:
    """A commit has one zxid, which is the stamp of everything it wrote."""
    if isinstance(op, Create):
        return Entry(op.key, op.value, 0, zxid, op.ephemeral)
    return _entry(op.key, op.value, stat) if isinstance(op, Put) and stat else None


def _first_failure(answers: Sequence[Any]) -> int | None:
    """Index of the operation that made the commit fail; the others are told 0 or "runtime inconsistency"."""
    failures = [(index, answer.code) for index, answer in enumerate(answers) if isinstance(answer, packets.Failed)]
    if not failures:
        return None
    return next((index for index, code in failures if code not in (0, Code.RUNTIME_INCONSISTENCY)), failures[0][0])
