"""Records of many keys as they were at one moment, read while others go on writing.

ZooKeeper has no read of several keys at once. But it numbers all changes in one order, and a record tells the number of
its last change (Entry.stamp) and how many it has had (Entry.version). So: read everything, then make one write, whose
number Z is the moment, then read everything again. Whatever was last changed before Z is what it was at Z. What was
changed after Z exactly once is what the first reading found. Only what changed more often in between is unknown: it is
read again right before the next try, and the next write at Z is made only if it still is what was just read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pvc_core.errors import Conflict, NotFound, Retry
from pvc_core.store.base import Check, Entry, Op, Put, Store

TRIES = 300
CHECKED_MAX = 16
"""More than so many cannot be read again before one of them has changed."""


def snapshot(store: Store, prefixes: Sequence[str], mark: Op) -> dict[str, Entry]:
    """Every key below `prefixes` as all of them were when `mark` (a Create or Put) was written.

    A key made and removed again while this read may be missing, as if it had been read a moment later. Raises Retry
    when too much changes all the time, Conflict (of the mark itself), StoreUnavailable.
    """
    before = _read(store, prefixes)
    unsure: set[str] = set()
    for _ in range(TRIES):
        checked = _again(store, unsure)
        moment = _write(store, mark, checked)
        if moment is None:
            continue
        mark = _next(mark, moment)
        after = _read(store, prefixes)
        found, doubtful = _at(moment.stamp, before, checked, after)
        if not doubtful:
            return found
        before, unsure = after, (unsure | doubtful) & (after.keys() | doubtful)
    raise Retry("the records change too fast to be read as of one moment", help="try again in a moment")


def _read(store: Store, prefixes: Sequence[str]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for prefix in prefixes:
        found |= {key: entry for key, entry in store.tree(prefix, deadline_s=60.0).items() if key != prefix}
    return found


def _again(store: Store, keys: set[str]) -> dict[str, Entry]:
    found = {}
    for key in sorted(keys):
        try:
            found[key] = store.get(key)
        except NotFound:
            continue
    return found


def _write(store: Store, mark: Op, checked: Mapping[str, Entry]) -> Entry | None:
    """The mark as written; None when one of `checked` is no longer what was read."""
    try:
        wrote = store.commit([mark, *(Check(key, entry.version) for key, entry in checked.items())])
    except Conflict:
        if not checked:
            raise
        return None
    assert wrote[0] is not None
    return wrote[0]


def _next(mark: Op, wrote: Entry) -> Op:
    assert not isinstance(mark, Check)
    return Put(wrote.key, wrote.value, wrote.version)


def _at(
    moment: int, before: Mapping[str, Entry], checked: Mapping[str, Entry], after: Mapping[str, Entry]
) -> tuple[dict[str, Entry], set[str]]:
    """(what was there at `moment`, the keys of which that cannot be told)."""
    found: dict[str, Entry] = {}
    doubtful: set[str] = set()
    for key, late in after.items():
        early = before.get(key)
        if key in checked:
            found[key] = checked[key]
        elif late.stamp <= moment:
            found[key] = late
        elif early is None and late.version == 0:
            pass  # made after the moment
        elif early is not None and early.stamp <= moment and late.version == early.version + 1:
            found[key] = early
        else:
            doubtful.add(key)
    for key in before.keys() | checked.keys():
        if key in after:
            continue
        if key in checked:
            found[key] = checked[key]
        else:
            doubtful.add(key)
    return found, doubtful
