"""Which life of the store this node has served last, kept on its own disk: an older store, or an empty one made anew,
is then known for what it is (policy/standstill.py).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from pvc_core.founding.files import File, write_all
from pvc_core.policy.standstill import Served

NAME = "served-era"


class ServedFile:
    """Read once; one thread writes."""

    def __init__(self, state: Path, cluster: str) -> None:
        """What another cluster's store was to this machine counts for nothing."""
        self._path, self._cluster = state / NAME, cluster
        self._served = self._read()

    def get(self) -> Served:
        return self._served

    def note(self, served: Served) -> None:
        """Kept when this returns. Raises Permanent (it cannot be written)."""
        record = {"cluster": self._cluster, "era": served.era, "id": served.id}
        write_all([File(self._path, msgspec.json.encode(record).decode() + "\n")])
        self._served = served

    def _read(self) -> Served:
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=dict)
            return Served(era=int(kept["era"]), id=str(kept["id"])) if kept["cluster"] == self._cluster else Served()
        except (OSError, ValueError, KeyError, TypeError, msgspec.MsgspecError):
            return Served()
