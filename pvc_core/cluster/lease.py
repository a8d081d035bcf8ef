"""The primary's two records and their writes: LEADER (who, for which term) and LEASE (its renewals).

LEADER changes only with the holder; LEASE is renewed every second and lies in /pvc/live. Both change in one commit when
the role moves, so a renewal and a takeover can never both succeed. When to do what is leadership.py's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pvc_core.cluster import layout
from pvc_core.cluster.layout import Kind
from pvc_core.errors import NotFound
from pvc_core.model.cluster import Leader, Lease
from pvc_core.model.view import Kept
from pvc_core.schema.records import decode, encode
from pvc_core.store.base import Check, Create, Op, Put, Store

T = TypeVar("T")

HOLD_S = 4.0
"""H: so long after the sending of the last accepted renewal the holder may act."""
TAKEOVER_S = 6.0
"""E: so long a lease must not have moved, seen by one coordinator on its own clock, before it takes over.

E >= H x 1.001 (two clocks' rates) + 0.5 s (margin) + 1 s (for a guard to take the addresses down).
"""
RETURN_S = 3.0
"""So long the store must have answered one coordinator without a break before it takes over: the lease stands still for
everybody while the store is away, and its holder is back with the store, too. Nothing but needless moves hangs on it:
E is counted over the break, for the record is written over by compare-and-set.
"""
CALL_S = 0.8
LATE_S = 2.0
"""Two looks further apart than this are a break: whoever slept lets the holder be heard first, too."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A node's own leadership. Never changed in place, so that any thread may look at it."""

    term: int
    until_s: float
    """Boot time of this node after which it may act no more, unless a renewal is accepted; 0: it has let go."""
    leader: Kept[Leader]
    lease: Kept[Lease]


class LeaseRecords:
    """Reads and writes, each with a deadline of CALL_S. Raises StoreUnavailable, and Conflict when another wrote."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def lease(self) -> Kept[Lease] | None:
        return self._read(layout.LEASE)

    def leader(self) -> Kept[Leader] | None:
        return self._read(layout.LEADER)

    def renew(self, kept: Kept[Lease], beat: int) -> Kept[Lease]:
        return self._put(layout.LEASE, replace(kept.value, beat=beat), kept)

    def note(self, leader: Leader, kept: Kept[Leader]) -> Kept[Leader]:
        """The same holder, the same term, something else about it."""
        return self._put(layout.LEADER, leader, kept)

    def move(
        self, leader: Leader, over: Kept[Leader] | None, beat: int, lease: Kept[Lease] | None
    ) -> tuple[Kept[Leader], Kept[Lease]]:
        """Both, over the very records that were read: of all who try, one succeeds."""
        new = Lease(node=leader.node, incarnation=leader.incarnation, term=leader.term, beat=beat)
        ops = [_over(layout.LEADER, leader, over), _over(layout.LEASE, new, lease)]
        wrote = self._store.commit(ops, deadline_s=CALL_S)
        first = Kept(leader, wrote[0].version, wrote[0].stamp) if wrote[0] else over
        assert first is not None and wrote[1] is not None
        return first, Kept(new, wrote[1].version, wrote[1].stamp)

    def _read(self, kind: Kind[T]) -> Kept[T] | None:
        try:
            entry = self._store.get(kind.key(layout.ONLY), deadline_s=CALL_S)
        except NotFound:
            return None
        return Kept(decode(entry.value, kind.record), entry.version, entry.stamp)

    def _put(self, kind: Kind[T], record: T, kept: Kept[T]) -> Kept[T]:
        key = kind.key(layout.ONLY)
        entry = self._store.put(key, encode(record), if_version=kept.version, deadline_s=CALL_S)
        return Kept(record, entry.version, entry.stamp)


def _over(kind: Kind[Any], record: object, kept: Kept[Any] | None) -> Op:
    key = kind.key(layout.ONLY)
    if kept is None:
        return Create(key, encode(record))
    return Check(key, kept.version) if kept.value == record else Put(key, encode(record), kept.version)
