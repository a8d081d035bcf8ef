"""What pvcnoded tells the guard of this node's guests: /run/pvc/guests.json, which of them no other node could claim.

The guard freezes those it is not told of: so the file may be missing, old or broken without anybody running twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pvc_core.guard.incarnation import write_whole

NAME = "guests.json"


@dataclass(frozen=True, slots=True)
class GuestList:
    only_here: tuple[str, ...] = ()
    """UUIDs of guests that could start nowhere else (`failover: none`)."""


def write_guest_list(run: Path, only_here: Iterable[str]) -> bool:
    """At once or not at all; whether anything changed. Raises OSError."""
    new = GuestList(tuple(sorted(only_here)))
    if (run / NAME).exists() and read_guest_list(run) == new:
        return False
    write_whole(run / NAME, msgspec.json.encode(new))
    return True


def read_guest_list(run: Path) -> GuestList:
    """Empty when there is none, or it cannot be read."""
    try:
        return msgspec.json.decode((run / NAME).read_bytes(), type=GuestList)
    except (OSError, msgspec.MsgspecError):
        return GuestList()
