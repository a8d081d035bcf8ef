"""A coordinator's agreement to the verdicts on other nodes: each takes effect when a majority has agreed.

Before it agrees it gives that incarnation no promise any more and lets the last one run out (promises.py).
"""

from __future__ import annotations

from dataclasses import replace

from pvc_core.cluster.layout import VERDICTS
from pvc_core.errors import Conflict, NotFound, Permanent
from pvc_core.guard.promises import Promises
from pvc_core.model.verdict import Verdict
from pvc_core.schema.records import decode, encode
from pvc_core.store.base import Store

_CALL_S = 0.5
_TRIES = 3
"""Several coordinators agree at the same moment."""


class Agreement:
    """One thread uses it, after each accepted heartbeat: one cheap read as long as there is nothing new."""

    def __init__(self, node: str, life: str, promises: Promises) -> None:
        self._node = node
        self._life = life
        self._promises = promises
        self._done: set[str] = set()

    def step(self, store: Store) -> list[str]:
        """The lives whose verdicts were agreed to now. Raises StoreUnavailable, OSError (what must be kept cannot)."""
        agreed = []
        try:
            names = store.children(VERDICTS.prefix, deadline_s=_CALL_S)
        except NotFound:
            names = []
        for life in names:
            if life != self._life and life not in self._done and self._agree(store, life):
                agreed.append(life)
        self._promises.looked()
        return agreed

    def _agree(self, store: Store, life: str) -> bool:
        self._promises.refuse(life)
        for _ in range(_TRIES):
            try:
                entry = store.get(VERDICTS.key(life), deadline_s=_CALL_S)
                verdict = decode(entry.value, Verdict)
            except (NotFound, Permanent):
                return False  # taken back by hand, or of a newer version: it gets no promise, and no agreement
            if self._node in verdict.agreed or self._node not in verdict.coordinators:
                self._done.add(life)
                return False
            if not self._promises.may_agree(life):
                return False
            new = encode(replace(verdict, agreed=(*verdict.agreed, self._node)))
            try:
                store.put(entry.key, new, if_version=entry.version, deadline_s=_CALL_S)
            except Conflict:
                continue
            self._done.add(life)
            return True
        return False
