"""Connections and group commit: all requests of one turn of the loop share one transaction on the disk.

Requests are applied in memory at once, in the order they came. Answers and watch events wait until the journal has the
whole batch; if it cannot take it, the batch is undone and tried again one by one, so that only what really does not
fit is refused.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pvc_core.store.codes import Code
from pvc_core.store.embedded import protocol
from pvc_core.store.embedded.connection import Connection
from pvc_core.store.embedded.journal import DiskFull, Journal
from pvc_core.store.embedded.protocol import Declined
from pvc_core.store.embedded.requests import Requests
from pvc_core.store.embedded.rights import Door
from pvc_core.store.embedded.sessions import Session, Sessions
from pvc_core.store.embedded.watches import Watches

_log = logging.getLogger(__name__)

_TICK_S = 0.25
_LATE_S = 1.0
"""A tick later than this means that the server itself stood still (stopped, machine asleep)."""

Work = Callable[[], bytes]


@dataclass(slots=True)
class _Job:
    """`work` gives the body of the answer; without a connection nobody waits for one. `must`: happens in any case."""

    work: Work
    connection: Connection | None = None
    xid: int = 0
    must: bool = False


@dataclass(slots=True)
class _Batch:
    jobs: list[_Job] = field(default_factory=list)
    changed: dict[str, bool] = field(default_factory=dict)
    outgoing: list[tuple[Connection, bytes]] = field(default_factory=list)


class Server:
    """The store behind every connection, in one event loop. `ended` fails when the disk can no longer be trusted."""

    def __init__(self, journal: Journal, door: Door) -> None:
        self.door = door
        self.tree = journal.load()
        self.watches: Watches[Connection] = Watches()
        self.sessions = Sessions(journal.epoch << 32 | 1)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._journal = journal
        self._requests = Requests(self.tree, self.watches)
        self._batch = _Batch()
        self._disk_full = False

    async def listen(self, host: str, port: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        self._tick(loop, time.monotonic())
        return await loop.create_server(lambda: Connection(self), host, port)

    # what connections ask for

    def submit(self, connection: Connection, xid: int, op: int, body: bytes) -> None:
        self._take(_Job(lambda: self._requests.answer(op, body, connection), connection, xid))

    def submit_work(self, connection: Connection, xid: int, work: Work) -> None:
        self._take(_Job(work, connection, xid))

    def end_session(self, session: Session, connection: Connection | None = None, xid: int = 0) -> None:
        """Its ephemeral keys go. Not undone when the disk is full: they are not on it."""

        def work() -> bytes:
            self.tree.next_zxid()
            self.tree.end_session(session.id)
            self.sessions.end(session)
            return b""

        self._take(_Job(work, connection, xid, must=True))

    # one batch

    def _take(self, job: _Job) -> None:
        if not self._batch.jobs:
            asyncio.get_running_loop().call_soon(self._flush)
        self._run(job, self._batch)
        self._batch.jobs.append(job)

    def _run(self, job: _Job, batch: _Batch) -> None:
        mark = self.tree.undo.mark()
        code, body = Code.OK, b""
        try:
            body = job.work()
        except Declined as declined:
            code = declined.code
            self.tree.take_back(mark)
        except BaseException:  # malformed, or a fault of ours: the connection ends, and nothing of it may stay
            self.tree.take_back(mark)
            raise
        for event, path in self.tree.events:
            packet = protocol.event(event, path)
            batch.outgoing += [(watcher, packet) for watcher in self.watches.due(event, path, self.tree.undo)]
        for path, with_data in self.tree.changed.items():
            batch.changed[path] = with_data or batch.changed.get(path, False)
        self.tree.events.clear()
        self.tree.changed.clear()
        if job.connection:
            batch.outgoing.append((job.connection, protocol.reply(job.xid, self.tree.zxid, code, body)))

    def _flush(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if self.ended.done():
            return
        try:
            if batch.changed:
                batch = self._kept(batch)
        except sqlite3.Error as error:
            # what the disk holds is not known: say nothing more to anyone, begin again from what it really has
            self.ended.set_exception(error)
            return
        self.tree.undo.forget()
        self._send(batch)

    def _kept(self, batch: _Batch) -> _Batch:
        try:
            self._journal.write(batch.changed, self.tree)
        except DiskFull as error:
            self._tell_disk(error)
            self.tree.undo.back_to(0)
            return self._kept_one_by_one(batch.jobs)
        self._tell_disk(None)
        return batch

    def _kept_one_by_one(self, jobs: list[_Job]) -> _Batch:
        kept = _Batch()
        for job in jobs:
            alone = _Batch()
            self._run(job, alone)
            try:
                if alone.changed:
                    self._journal.write(alone.changed, self.tree)
            except DiskFull:
                if not job.must:
                    self.tree.undo.back_to(0)
                    alone.outgoing = _refusal(job, self.tree.zxid)
            self.tree.undo.forget()
            kept.outgoing += alone.outgoing
        return kept

    def _send(self, batch: _Batch) -> None:
        packets: dict[Connection, list[bytes]] = {}
        for connection, packet in batch.outgoing:
            packets.setdefault(connection, []).append(packet)
        for connection, theirs in packets.items():
            connection.send(b"".join(theirs))

    def _tell_disk(self, error: DiskFull | None) -> None:
        """Once when it begins, once when it ends."""
        if error and not self._disk_full:
            _log.error("writes are refused, the disk does not take them: %s", error)
        elif not error and self._disk_full:
            _log.warning("the disk takes writes again")
        self._disk_full = error is not None

    # time

    def _tick(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        now_s = time.monotonic()
        if now_s - due_s > _LATE_S:
            self.sessions.forgive(now_s - due_s)
        for session in self.sessions.overdue(now_s):
            _log.info("session %#x is over: nothing heard for %.1f s", session.id, session.timeout_s)
            if isinstance(session.connection, Connection):
                session.connection.hang_up()
            self.end_session(session)
        loop.call_later(_TICK_S, self._tick, loop, now_s + _TICK_S)


def _refusal(job: _Job, zxid: int) -> list[tuple[Connection, bytes]]:
    return [(job.connection, protocol.reply(job.xid, zxid, Code.SYSTEM_ERROR))] if job.connection else []
