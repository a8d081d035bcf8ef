"""Which prefixes upstream's routers are told of, by network: kept in a file beside FRR's, because a restarted pvcnoded
gets to know its networks one after the other, and must withdraw none of them meanwhile.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path


class Told:
    """Safe from any thread."""

    def __init__(self, path: Path) -> None:
        """`path` goes with the machine's boot, as FRR does."""
        self._path, self._lock = path, threading.Lock()
        self._networks: dict[int, tuple[str, ...]] | None = None

    def say(self, vni: int, prefixes: Sequence[str]) -> bool:
        """True if that is new; nothing for a network that is gone. Raises OSError."""
        with self._lock:
            known = self._known()
            if known.get(vni, ()) == tuple(prefixes):
                return False
            known.pop(vni, None)
            if prefixes:
                known[vni] = tuple(prefixes)
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            new = self._path.with_suffix(".new")
            new.write_text(json.dumps({str(vni): known[vni] for vni in sorted(known)}))
            os.replace(new, self._path)
            return True

    def networks(self) -> Mapping[int, Sequence[str]]:
        with self._lock:
            return dict(self._known())

    def _known(self) -> dict[int, tuple[str, ...]]:
        if self._networks is None:
            try:
                plain = json.loads(self._path.read_text())
                self._networks = {int(vni): tuple(map(str, prefixes)) for vni, prefixes in plain.items()}
            except (OSError, ValueError, AttributeError, TypeError):
                self._networks = {}  # never written, or by a hand; each network tells it again
        return self._networks
