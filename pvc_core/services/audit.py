"""The audit log: every change that was asked of the API, kept in the store within bounds.

A change costs no write of its own: entries are gathered and written together, a page per API process and a few seconds,
so a crash loses at most those seconds here (the log of pvcapid has them at once). PAGES pages of PAGE_MAX entries are
kept for each coordinator, the oldest is written over. When it is time to write is told by who calls `flush`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from pvc_core.cluster import layout
from pvc_core.errors import Conflict
from pvc_core.model.audit import AuditEntry, AuditPage
from pvc_core.model.view import Kept
from pvc_core.services.desk import Desk
from pvc_core.services.filters import name_filter

PAGE_MAX = 100
PAGES = 20
WAITING_MAX = 2000
"""Entries that the store could not take yet; then the oldest are let go, and only the log has them."""


@dataclass(slots=True)
class AuditService:
    desk: Desk
    node: str
    """Whose API this is."""
    _waiting: list[AuditEntry] = field(default_factory=list)
    _page: Kept[AuditPage] | None = None
    _read: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def note(self, entry: AuditEntry) -> None:
        """Kept in memory until the next `flush`. Never blocks."""
        with self._lock:
            self._waiting.append(entry)
            del self._waiting[:-WAITING_MAX]

    def flush(self) -> None:
        """Write what waits. Raises what the store raises; nothing is lost by that."""
        with self._writing:
            while self._waiting:
                try:
                    self._write()
                except Conflict:
                    self._read = False  # another API of this node wrote, or we did and were not told
                    self._write()

    def list(self, *, limit: str | None = None, count: int = 100) -> list[AuditEntry]:
        """The last `count` entries of all APIs, the newest first; `limit` is a name filter for who asked.

        Reads the store. Raises Invalid for a bad filter, StoreUnavailable.
        """
        matches = name_filter(limit)
        self.flush()
        pages = self.desk.repository.all(layout.AUDIT).values()
        found = [entry for kept in pages for entry in kept.value.entries if matches(entry.by)]
        return sorted(found, key=lambda entry: entry.at_s, reverse=True)[:count]

    def _write(self) -> None:
        if not self._read:
            self._page, self._read = self._last(), True
        old = self._page.value if self._page else AuditPage(node=self.node, number=0)
        known = {entry.request_id for entry in old.entries if entry.request_id}
        with self._lock:
            self._waiting[:] = [entry for entry in self._waiting if entry.request_id not in known]
            if len(old.entries) >= PAGE_MAX:
                old = AuditPage(node=self.node, number=old.number + 1)
            taken = self._waiting[: PAGE_MAX - len(old.entries)]
        if not taken:
            return
        new = replace(old, entries=(*old.entries, *taken))
        self._read = False
        self._page = self._keep(new)
        self._read = True
        with self._lock:
            written = {id(entry) for entry in taken}
            self._waiting[:] = [entry for entry in self._waiting if id(entry) not in written]

    def _keep(self, page: AuditPage) -> Kept[AuditPage]:
        slot = f"{self.node}@{page.number % PAGES:02d}"
        same = self._page is not None and self._page.value.number == page.number
        before = self._page if same else self.desk.repository.find(layout.AUDIT, slot)
        return self.desk.repository.save(layout.AUDIT, slot, page, before)

    def _last(self) -> Kept[AuditPage] | None:
        """The page this node's API wrote last."""
        mine = [kept for kept in self.desk.repository.all(layout.AUDIT).values() if kept.value.node == self.node]
        return max(mine, key=lambda kept: kept.value.number, default=None)
