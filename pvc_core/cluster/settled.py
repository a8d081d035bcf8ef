"""A commit whose answer was lost: did it happen? The store cannot say; what stands there afterwards can.

A write that follows a version cannot happen twice: the same commit is sent again, and either it happens now or it meets
itself (or somebody else). One that only creates could, if somebody removed meanwhile what it made, bring that back: it
is not sent again. Its checks alone are, which orders them behind whatever was still under way (a session's requests
are taken from its newest connection only), and then it is looked whether it is there.

Who waits for an answer, and how that is put to people, is services/desk.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pvc_core.clock import Clock
from pvc_core.errors import Conflict, NotFound, StoreUnavailable
from pvc_core.store.base import Check, Create, Delete, Entry, Op, Put, Store

PAUSE_S = 0.3
WITHIN_S = 20.0
"""A slow disk under a coordinator, a new leader, a session begun anew: each is over by then, or is an outage."""


@dataclass(frozen=True, slots=True)
class Settling:
    """`pause` sleeps; it is given so that a test need not wait."""

    clock: Clock
    pause: Callable[[float], None]
    within_s: float = WITHIN_S

    def commit(self, store: Store, ops: Sequence[Op]) -> None:
        """All of it, once, or nothing. Raises Conflict as Store.commit does; StoreUnavailable with `maybe_written`
        only when the store gave no answer for `within_s` more, or others wrote over it so that nobody can tell.
        """
        try:
            store.commit(ops)
        except StoreUnavailable as error:
            if not error.maybe_written:
                raise
            self._settle(store, ops, error)

    def _settle(self, store: Store, ops: Sequence[Op], lost: StoreUnavailable) -> None:
        until_s = self.clock.boottime_s() + self.within_s
        while self.clock.boottime_s() < until_s:
            self.pause(PAUSE_S)
            try:
                happened, why = _again(store, ops)
            except StoreUnavailable:
                continue
            if happened is None:
                break
            if not happened:
                raise why
            return
        raise lost


def _again(store: Store, ops: Sequence[Op]) -> tuple[bool | None, Exception]:
    """Whether it has happened, now or before (None: nobody can tell), and if not, why. Raises StoreUnavailable."""
    guarded = any(isinstance(op, Put | Delete) and op.if_version is not None for op in ops)
    checks = [op for op in ops if isinstance(op, Check)]
    if not guarded and not checks:
        return None, StoreUnavailable("nothing in it says whether it happened", maybe_written=True)
    why: Exception = StoreUnavailable("nothing was changed: the store gave no answer in time")
    try:
        store.commit(ops if guarded else checks)
        if guarded:
            return True, why
    except Conflict as error:
        why = error
    return _happened(store, ops), why


def _happened(store: Store, ops: Sequence[Op]) -> bool | None:
    """By the first of its parts that tells: all of them happened, or none."""
    signs = [_sign(op, _entry(store, op.key)) for op in ops if not isinstance(op, Check)]
    plain = next((sign for sign in signs if sign is not None), None)
    if plain is None and all(isinstance(op, Delete | Check) for op in ops):
        return True  # what was to go is gone, by whomever
    return plain


def _sign(op: Op, found: Entry | None) -> bool | None:
    """What is at its key says that it happened (True), that it did not (False), or nothing."""
    match op:
        case Create():
            if found is None:
                return False  # or it was removed since: it is not there
            return found.value == op.value if found.version == 0 else None
        case Put(if_version=int(version)) if found is not None:
            if found.version <= version:
                return False
            return found.value == op.value if found.version == version + 1 else None
        case Delete() if found is not None:
            return False if found.version == op.if_version else None
    return None


def _entry(store: Store, key: str) -> Entry | None:
    try:
        return store.get(key)
    except NotFound:
        return None
