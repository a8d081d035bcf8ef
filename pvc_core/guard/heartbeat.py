"""One heartbeat: written with the version we know, recognised when it was written and nobody told us.

When to beat, and what to do when it fails, is pulse.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.clock import Clock
from pvc_core.cluster.layout import HEARTBEATS, VERDICTS
from pvc_core.errors import Conflict, Exists, NotFound, Permanent, Refused, StoreUnavailable
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.facts import Facts
from pvc_core.guard.report import Report
from pvc_core.model.node import Heartbeat
from pvc_core.model.verdict import Verdict, life_id
from pvc_core.schema.records import decode, encode
from pvc_core.store.base import Entry, Store

_STILL_LOOKS = 3
"""A record of another incarnation that did not move for so many looks is left over, not a living machine."""
_DOUBTS_MAX = 60
BACK_IN_S = 120.0
"""A restart of the guard takes seconds; an upgrade of the machine's packages may take this long."""


class Condemned(Refused):
    """This incarnation is given up, irrevocably."""


@dataclass(frozen=True, slots=True)
class _Promise:
    sent_s: float
    armed: bool
    limit_s: float


class Heart:
    """Knows the record's version and which of our writes have an unknown outcome. One thread uses it."""

    def __init__(
        self,
        node: str,
        incarnation: str,
        *,
        limit_s: float,
        clock: Clock,
        deadline: Deadline,
        facts: Callable[[], Facts],
        addresses: Mapping[str, str] | None = None,
        watchdog_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._node = node
        self._key = HEARTBEATS.key(node)
        self._incarnation = incarnation
        self._limit_s = limit_s
        self._clock = clock
        self._deadline = deadline
        self._facts = facts
        self._addresses = dict(addresses or {})
        self._watchdog_s = watchdog_s
        self._leaving = False
        self._verdict_key = VERDICTS.key(life_id(node, incarnation))
        self._version: int | None = None
        self._looked = False
        self._beat = 0
        self._doubts: dict[int, _Promise] = {}
        self._stranger: tuple[int, int] = (0, 0)
        """Stamp of the other incarnation's record, and in how many looks it was the same."""

    def beat(self, store: Store, *, armed: bool, deadline_s: float) -> None:
        """Returns once a heartbeat of ours is in the store, within `deadline_s`; `armed`: other nodes exist.

        Raises Condemned (nothing is sent in this incarnation any more), StoreUnavailable, Refused (a machine of the
        same name is alive), and what else a store may raise.
        """
        self._demand_life()
        until_s = self._clock.boottime_s() + deadline_s
        if not self._looked:
            self._look(store, until_s)
        try:
            self._send(store, armed, until_s)
        except (Conflict, NotFound, Exists):
            # Our own earlier write, a record removed or a store restored: look once, then it must succeed.
            self._look(store, until_s)
            self._send(store, armed, until_s)

    def leave(self, store: Store, *, deadline_s: float) -> None:
        """The last one before the guard stops: nobody freezes anything here until it is back. Raises as `beat`."""
        self._leaving = True
        self.beat(store, armed=False, deadline_s=deadline_s)

    def _demand_life(self) -> None:
        if self._deadline.condemned:
            raise Condemned(f"this node is given up in its incarnation {self._incarnation}: {self._deadline.condemned}")

    def _look(self, store: Store, until_s: float) -> None:
        """The verdict and the heartbeat it meets were one commit: of the two, one suffices."""
        self._looked = False
        try:
            verdict = store.get(self._verdict_key, deadline_s=self._left(until_s))
        except NotFound:
            pass
        else:
            self.condemn(_words(verdict.value))
        try:
            entry = store.get(self._key, deadline_s=self._left(until_s))
        except NotFound:
            self._version = None
        else:
            self._meet(entry)
            self._version = entry.version
        self._looked = True
        self._demand_life()

    def condemn(self, why: str) -> None:
        """There is a verdict on this incarnation, wherever we heard of it."""
        self._deadline.condemned = self._deadline.condemned or why or "no reason is on record"

    def _meet(self, entry: Entry) -> None:
        try:
            found = decode(entry.value, Heartbeat)
        except Permanent:
            return  # nobody's heartbeat: written over
        if found.incarnation != self._incarnation:
            self._meet_stranger(entry, found)
            return
        self._beat = max(self._beat, found.beat)
        if promise := self._doubts.get(found.beat):
            self._deadline.accepted(promise.sent_s, armed=promise.armed, limit_s=promise.limit_s)
        if found.condemned:
            self.condemn("a verdict was written over its last heartbeat")

    def _meet_stranger(self, entry: Entry, found: Heartbeat) -> None:
        """An earlier life of ours, until one has been heard that is ours: then a second machine of our name."""
        stamp, looks = self._stranger
        self._stranger = (entry.stamp, looks + 1 if stamp == entry.stamp else 1)
        if self._deadline.last_sent_s is None or self._stranger[1] >= _STILL_LOOKS:
            return
        raise Refused(
            f"another machine sends heartbeats as node {self._node} (incarnation {found.incarnation}, "
            f"this one is {self._incarnation})",
            help="give each machine a host name of its own, or start pvcguard with --node",
        )

    def _send(self, store: Store, armed: bool, until_s: float) -> None:
        self._beat += 1
        facts = self._facts()
        value = encode(self._record(armed, facts))
        promise = _Promise(self._clock.boottime_s(), armed, self._limit_s)
        self._deadline.sending(armed=armed, limit_s=self._limit_s)
        try:
            entry = self._write(store, value, self._left(until_s))
        except StoreUnavailable as error:
            if error.maybe_written:
                self._doubt(promise)
            raise
        self._version = entry.version
        self._doubts.clear()
        self._deadline.accepted(promise.sent_s, armed=armed, limit_s=self._limit_s)

    def _write(self, store: Store, value: bytes, deadline_s: float) -> Entry:
        if self._version is None:
            return store.create(self._key, value, deadline_s=deadline_s)
        return store.put(self._key, value, if_version=self._version, deadline_s=deadline_s)

    def _record(self, armed: bool, facts: Facts) -> Heartbeat:
        return Heartbeat(
            node=self._node,
            incarnation=self._incarnation,
            beat=self._beat,
            limit_s=self._limit_s,
            armed=armed,
            watchdog_s=0.0 if self._leaving else self._watchdog_s(),
            back_in_s=BACK_IN_S if self._leaving else 0.0,
            addresses=self._addresses,
            memory_total_bytes=facts.memory_total_bytes,
            memory_free_bytes=facts.memory_free_bytes,
            load=facts.load,
            cpu_count=facts.cpu_count,
            interfaces=dict(facts.interfaces),
            **self._told(facts.report),
        )

    def _told(self, report: Report | None) -> dict[str, Any]:
        if report is None:
            return {}
        return {
            "told_s": round(self._clock.boottime_s() - report.at_boottime_s, 1),
            "running": report.running,
            "memory_allocated_bytes": report.memory_allocated_bytes,
            "memory_provisioned_bytes": report.memory_provisioned_bytes,
            "vcpus_allocated": report.vcpus_allocated,
        }

    def _doubt(self, promise: _Promise) -> None:
        self._doubts[self._beat] = promise
        if len(self._doubts) > _DOUBTS_MAX:
            del self._doubts[next(iter(self._doubts))]

    def _left(self, until_s: float) -> float:
        return max(0.01, until_s - self._clock.boottime_s())


def _words(value: bytes) -> str:
    """Why, as the verdict says; a verdict that cannot be read is one all the same."""
    try:
        verdict = decode(value, Verdict)
    except Permanent:
        return ""
    return f"{verdict.why} (verdict of {verdict.by}, term {verdict.term})"
