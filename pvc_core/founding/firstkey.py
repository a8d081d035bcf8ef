"""The first API key: made with the first node, before there is a store to keep it; pvcnoded hands it in when there is.

Only its hash lies on disk meanwhile. All other keys are made with `pvcnoded key` (services/keys.py).
"""

from __future__ import annotations

from pathlib import Path

from pvc_core.clock import Clock
from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.errors import Exists, Permanent
from pvc_core.founding.files import File, write_all
from pvc_core.model.cluster import ApiKey
from pvc_core.schema.records import decode, encode
from pvc_core.services.keys import new_key


def make(state: Path, name: str, clock: Clock) -> str:
    """The key, which cannot be shown again. Made again before the first start it replaces the former.

    Raises Invalid, Permanent.
    """
    record, key = new_key(name, "admin", description="made with the first node", now_s=clock.wall_s())
    write_all([File(_path(state), encode(record).decode())])
    return key


def hand_in(state: Path, repository: Repository) -> None:
    """Put it into the store if it is not there yet; a file that is none is forgotten. Raises StoreUnavailable."""
    path = _path(state)
    try:
        record = decode(path.read_bytes(), ApiKey)
    except OSError:
        return  # there is none
    except Permanent:
        path.unlink(missing_ok=True)
        return
    try:
        repository.add(layout.KEYS, record.name, record)
    except Exists:
        pass  # handed in before, and the file not yet removed; or a key of that name is in use, which stays
    path.unlink(missing_ok=True)


def _path(state: Path) -> Path:
    return state / "first-key.json"
