"""Keeps the whole cluster in memory from one watch. A list reads no store; after every fault the picture equals it
again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

from pvc_core.clock import Clock
from pvc_core.cluster import layout
from pvc_core.cluster.layout import Kind
from pvc_core.errors import NotFound, Permanent, PvcError, StoreUnavailable
from pvc_core.model.view import ClusterView, Kept, Unread
from pvc_core.schema.records import NewerRecord, decode
from pvc_core.store.base import Entry, Session, SessionState, Store

_log = logging.getLogger(__name__)

Changed = Callable[[frozenset[str] | None], None]
"""Called with the keys that changed, None for "anything", after the picture has them."""

_FIELDS: dict[Kind[Any], str] = {
    layout.ERA: "era", layout.ROLL_CALLS: "roll_calls", layout.LEVEL: "levels", layout.BACKUPS: "backups",
    layout.LEADER: "leader", layout.PRIMARY_WANTED: "primary_wanted", layout.SETTINGS: "settings",
    layout.NODE_WANTED: "node_wanted", layout.NODE_SEEN: "node_seen", layout.STORAGE_SEEN: "storage_seen",
    layout.NODE_PEERS: "node_peers", layout.REMOVED: "removed_nodes",
    layout.VM_WANTED: "vm_wanted", layout.VM_NAMES: "vm_names", layout.CLAIMS: "claims", layout.VM_SEEN: "vm_seen",
    layout.TOMBSTONES: "tombstones", layout.POOLS: "pools", layout.VOLUMES: "volumes", layout.TASKS: "tasks",
    layout.KEYS: "keys", layout.VERDICTS: "verdicts", layout.PROOFS: "proofs", layout.VOUCHES: "vouches",
    layout.FAULTS: "faults",
    layout.HEARTBEATS: "heartbeats", layout.STATS: "stats", layout.NETWORKS: "networks",
    layout.NETWORK_SEEN: "network_seen", layout.STORAGE_REPORTS: "storage_reports",
}  # fmt: skip


NOT_YET_S = float("inf")
QUIET_S = 1.5
"""Heartbeats change /pvc/live every second. When nothing was heard for so long, the store is asked for a sign."""
PATIENCE_S = 2.0
"""A store that has not answered for so long is silent, whatever the connection says of itself."""


class ViewKeeper:
    """Owns the picture. `step` does all the reading, so that a thread (run) or a simulator decides when.

    `live` adds /pvc/live (heartbeats, statistics) to what is watched: for pvcapid and the primary.
    `spread_s` delays the re-read after a reconnect by a random part of it, so that fifty nodes do not all read at once.
    """

    def __init__(
        self, store: Store, clock: Clock, *, live: bool = False, spread: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.view = ClusterView(fresh=False)
        self.reads = 0
        """Store calls made so far (the benchmark's "store reads per call")."""
        self._store, self._clock, self._spread = store, clock, spread
        self._live = live
        self._prefix = layout.ROOT if live else layout.STATE
        self._lock = threading.Condition()
        self._dirty: set[str] = set()
        self._all_due_s: float | None = clock.boottime_s()
        self._shown = False
        """Whether it was ever whole: the first reading waits for nobody."""
        self._answered_s = clock.boottime_s()
        """When the last question that was answered was put: the picture is no older than that."""
        self._asking_s: float | None = None
        """Since when a question is without an answer."""
        self._asked = self._done = 0
        self._known: dict[str, tuple[int, int, int]] = {}
        """Key -> (stamp, version, hash of its bytes) as they were read: what is the same when all is read anew is not
        decoded again. Not by the stamp alone, for a store that was begun anew counts from the start.
        """
        self._subscribers: list[Changed] = []
        self._stopping = False
        self._watch = store.watch(self._prefix, self._wake)
        store.on_session(self._session)

    def subscribe(self, changed: Changed) -> None:
        self._subscribers.append(changed)

    @property
    def shown(self) -> bool:
        """Whether the picture was ever whole. Until then it says nothing, not even who may ask."""
        return self._shown

    def stale_s(self) -> float | None:
        """While the store gives no answer: how old the picture may be, in seconds. None: it shows how things are."""
        now_s, asking_s = self._clock.boottime_s(), self._asking_s
        if self.view.fresh and (asking_s is None or now_s - asking_s < PATIENCE_S):
            return None
        return max(0.0, now_s - self._answered_s)

    def settle(self, keys: Iterable[str] = (), *, timeout_s: float = 5.0, inline: bool = False) -> bool:
        """Have the picture show at least what the store has now for `keys`: an answer after a write reflects that
        write.

        False when it could not within `timeout_s`. `inline` reads in this very thread (the simulator's way).
        """
        with self._lock:
            self._dirty.update(keys)
            self._asked += 1
            ticket = self._asked
            self._lock.notify_all()
        if inline:
            self.step()
        with self._lock:
            return self._lock.wait_for(lambda: self._done >= ticket, timeout=0 if inline else timeout_s)

    def wait_until(self, true: Callable[[ClusterView], bool], *, timeout_s: float) -> bool:
        """Block until the picture satisfies `true`."""
        with self._lock:
            return self._lock.wait_for(lambda: true(self.view), timeout=timeout_s)

    def run(self) -> None:
        """Step whenever something changed, until `stop`. The body of a daemon's thread."""
        while not self._stopping:
            with self._lock:
                if not self._due():
                    self._lock.wait(self._patience())  # anew after each word: it may have said when all is due
                due = self._due()
            if not self._stopping and not self._went_well(due):
                self._pause()

    def _went_well(self, due: bool) -> bool:
        try:
            return self.step() if due else self._probe()
        except Exception:  # noqa: BLE001  # a bug, ours or a plugin's: without this thread the picture would stand still for ever
            _log.exception("following the store failed")
            return False

    def stop(self) -> None:
        self._stopping = True
        self._watch.stop()
        with self._lock:
            self._lock.notify_all()

    def step(self) -> bool:
        """Read what is marked as changed and show it. False when the store did not answer (all of it stays marked).

        What a subscriber raises is raised when all have been told.
        """
        with self._lock:
            ticket, keys = self._asked, frozenset(self._dirty)
            everything = self._all_due_s is not None and self._clock.boottime_s() >= self._all_due_s
            due = self._all_due_s
            if due == NOT_YET_S and not keys:
                return False
            self._dirty.clear()
        began_s = self._asking_s = self._clock.boottime_s()
        try:
            changed = self._read_all() if everything else self._read(keys)
        except PvcError as error:  # no answer, or none for us (rights, credentials): this thread must outlive it
            with self._lock:
                self._dirty |= keys
                self._unanswered(error)
            return False
        except BaseException:  # whatever it was: nothing of what is marked may be forgotten by it
            with self._lock:
                self._dirty |= keys
            raise
        finally:
            self._asking_s = None
        with self._lock:
            if everything or keys:
                self._answered_s = began_s
            if everything and self._all_due_s == due:
                self._all_due_s, self._shown = None, True
            if self._all_due_s is None and not self.view.fresh:
                self.view = self.view.changed(fresh=True)
            self._done = max(self._done, ticket)
            self._lock.notify_all()
        if everything or changed:
            self._tell(None if everything else changed)
        return True

    def _tell(self, changed: frozenset[str] | None) -> None:
        failed: list[Exception] = []
        for subscriber in self._subscribers:
            try:
                subscriber(changed)
            except Exception as error:  # noqa: BLE001  # the others are told all the same; then it is raised
                failed.append(error)
        if failed:
            raise failed[0]

    def differences(self) -> list[str]:
        """Keys whose record in the picture differs from the store's, read anew. Empty is the proof after a fault."""
        entries = self._store.tree(self._prefix)
        wrong = []
        shown = {kind.key(id): kept for kind, name in _FIELDS.items() for id, kept in getattr(self.view, name).items()}
        for key in entries.keys() | shown.keys():
            if layout.split(key) is None or layout.split(key)[0] not in _FIELDS:  # type: ignore[index]  # None is handled first
                continue
            entry, kept = entries.get(key), shown.get(key)
            if entry is not None and key in self.view.unread and self.view.unread[key].stamp == entry.stamp:
                continue
            if entry is None or kept is None or entry.stamp != kept.stamp:
                wrong.append(key)
        return sorted(wrong)

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read_all(self) -> frozenset[str]:
        self.reads += 1
        entries = self._store.tree(self._prefix, deadline_s=60.0)
        tables: dict[str, dict[str, Kept[Any]]] = {name: {} for name in _FIELDS.values()}
        unread: dict[str, Unread] = {}
        known: dict[str, tuple[int, int, int]] = {}
        for key, entry in entries.items():
            found = layout.split(key)
            if found and found[0] in _FIELDS:
                name, id = _FIELDS[found[0]], found[1]
                known[key] = (entry.stamp, entry.version, hash(entry.value))
                kept: Kept[Any] | None = getattr(self.view, name).get(id)
                if kept is None or kept.stamp != entry.stamp or self._known.get(key) != known[key]:
                    kept = self._kept(found[0], id, entry, unread)
                if kept is not None:
                    tables[name][id] = kept
        with self._lock:
            self.view = ClusterView(**tables, unread=unread, fresh=self.view.fresh)
        self._known = known
        return frozenset(entries)

    def _read(self, keys: frozenset[str]) -> frozenset[str]:
        tables: dict[str, dict[str, Kept[Any]]] = {}
        changed, unread = set(), dict(self.view.unread)
        for key in sorted(keys):
            found = layout.split(key)
            if found is None or found[0] not in _FIELDS:
                if key.startswith(layout.PLUGINS):
                    changed.add(key)
                continue
            kind, id = found
            name = _FIELDS[kind]
            table = tables.setdefault(name, dict(getattr(self.view, name)))
            self.reads += 1
            before = unread.pop(key, None)
            try:
                entry = self._store.get(key)
                self._known[key] = (entry.stamp, entry.version, hash(entry.value))
                kept = self._kept(kind, id, entry, unread)
            except NotFound:
                self._known.pop(key, None)
                kept = None
            if unread.get(key) != before:
                changed.add(key)
            if kept is None:
                changed.update((key,) if table.pop(id, None) is not None else ())
            elif table.get(id) is None or table[id].stamp != kept.stamp:
                table[id] = kept
                changed.add(key)
        if changed and tables:
            with self._lock:
                self.view = self.view.changed(unread=unread, **tables)
        return frozenset(changed)

    def _kept(self, kind: Kind[Any], id: str, entry: Entry, unread: dict[str, Unread]) -> Kept[Any] | None:
        """The record. One of a newer PVC goes to `unread`: nobody here shall act on it, nor on what it was before. Of
        one that cannot be read at all, the last that could: one bad record hides no other.
        """
        try:
            return Kept(decode(entry.value, kind.record), entry.version, entry.stamp)
        except NewerRecord as error:
            unread[kind.key(id)] = Unread(f"{kind.name} {id}", error.number, error.known, entry.stamp)
            return None
        except Permanent:
            return getattr(self.view, _FIELDS[kind]).get(id)

    def _probe(self) -> bool:
        """Nothing was heard for a while: is the store there? False when it did not answer."""
        began_s = self._clock.boottime_s()
        if not self._live or began_s - self._answered_s < QUIET_S or self._all_due_s is not None:
            return True
        self._asking_s = began_s
        try:
            self._store.get(layout.ERA.key(layout.ONLY), deadline_s=PATIENCE_S)
        except NotFound:
            pass  # an answer, too
        except PvcError as error:
            with self._lock:
                self._unanswered(error)
            return False
        finally:
            self._asking_s = None
        with self._lock:
            self._answered_s = began_s
            if self._all_due_s is None and not self.view.fresh:
                self.view = self.view.changed(fresh=True)
                self._lock.notify_all()
        return True

    def _unanswered(self, error: PvcError) -> None:
        if isinstance(error, StoreUnavailable) and self.view.fresh:
            self.view = self.view.changed(fresh=False)
            self._lock.notify_all()

    # -- being woken -----------------------------------------------------------------------------------------------

    def _wake(self, key: str | None) -> None:
        with self._lock:
            if key is None:
                self._all_due_s = self._clock.boottime_s() + (self._spread() if self._shown else 0.0)
            else:
                self._dirty.add(key)
            self._lock.notify_all()

    def _session(self, session: Session) -> None:
        """Without a connection everything is due, but not before the watch stands again (`_wake` with None)."""
        if session.state is not SessionState.CONNECTED:
            with self._lock:
                self.view = self.view.changed(fresh=False)
                self._all_due_s = NOT_YET_S
                self._lock.notify_all()

    def _due(self) -> bool:
        overdue = self._all_due_s is not None and self._clock.boottime_s() >= self._all_due_s
        return bool(self._stopping or self._dirty or overdue or self._asked > self._done)

    def _patience(self) -> float | None:
        if self._all_due_s is None or self._all_due_s == NOT_YET_S:
            return QUIET_S if self._live else None
        return max(0.01, self._all_due_s - self._clock.boottime_s())

    def _pause(self) -> None:
        """Between two attempts to read a store that does not answer."""
        with self._lock:
            self._lock.wait(timeout=0.2)
