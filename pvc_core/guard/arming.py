"""Whether the deadline counts: another node could start this one's guests, and nobody asked for maintenance.

What was heard of either a moment ago is enough: it takes effect with the heartbeat that says so (deadline.py).
"""

from __future__ import annotations

from pvc_core.cluster.layout import HEARTBEATS, ONLY, SETTINGS
from pvc_core.errors import NotFound, Permanent
from pvc_core.guard.settings import Settings
from pvc_core.model.cluster import Settings as ClusterSettings
from pvc_core.schema.records import decode
from pvc_core.store.base import Store

_CALL_S = 0.5
_OTHERS_BEATS = 10


class Arming:
    """One thread uses it, once a beat."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._others = len(settings.coordinators) > 1
        self._beats = 0

    def armed(self, store: Store) -> bool:
        """Never in a cluster that can have one node only. Raises StoreUnavailable."""
        if self._settings.alone:
            return False
        if not self._others and self._beats % _OTHERS_BEATS == 0:
            self._others = self._sees_others(store)
        self._beats += 1
        return self._others and not _maintenance(store)

    def _sees_others(self, store: Store) -> bool:
        try:
            names = store.children(HEARTBEATS.prefix, deadline_s=_CALL_S)
        except NotFound:
            return False
        return bool(set(names) - {self._settings.node})


def _maintenance(store: Store) -> bool:
    """A record that cannot be read asks for nothing."""
    try:
        return decode(store.get(SETTINGS.key(ONLY), deadline_s=_CALL_S).value, ClusterSettings).maintenance
    except (NotFound, Permanent):
        return False
