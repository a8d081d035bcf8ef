"""Where the coordinators' guards answer, as their own heartbeats say: read while there is a store, needed when there is
none. Kept in /run/pvc/neighbours for a guard that begins anew meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from pvc_core.cluster.layout import HEARTBEATS
from pvc_core.errors import NotFound, Permanent
from pvc_core.guard.incarnation import write_whole
from pvc_core.model.node import Heartbeat
from pvc_core.schema.records import decode
from pvc_core.store.base import Store

NAME = "neighbours"
_CALL_S = 0.5


class Neighbours:
    """One thread looks, another asks."""

    def __init__(self, run: Path, names: Sequence[str]) -> None:
        self._path = run / NAME
        self._names = tuple(names)
        self._next = 0
        self._known = _read(self._path)

    def addresses(self) -> Mapping[str, Sequence[str]]:
        """Name -> its addresses, of the coordinators known so far."""
        return {name: found for name in self._names if (found := self._known.get(name))}

    def look(self, store: Store) -> None:
        """One of them at a time. Raises StoreUnavailable, OSError."""
        if not self._names:
            return
        name = self._names[self._next % len(self._names)]
        self._next += 1
        try:
            found = decode(store.get(HEARTBEATS.key(name), deadline_s=_CALL_S).value, Heartbeat)
        except (NotFound, Permanent):
            return
        addresses = tuple(found.addresses.values())
        if addresses and addresses != self._known.get(name):
            self._known = {**self._known, name: addresses}
            write_whole(self._path, msgspec.json.encode(self._known))


def _read(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, tuple[str, ...]])
    except (OSError, msgspec.MsgspecError):
        return {}
