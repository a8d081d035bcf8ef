"""The deadline in a file, so that it outlives the guard's process and others may read it without asking."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from pvc_core.guard.deadline import Deadline
from pvc_core.guard.incarnation import write_whole
from pvc_core.schema.typed import from_json

NAME = "deadline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """All times on this node's CLOCK_BOOTTIME. `deadline_boottime_s` is None while not armed."""

    incarnation: str
    armed: bool
    limit_s: float
    last_sent_boottime_s: float | None
    deadline_boottime_s: float | None
    promised_boottime_s: float = 0.0
    condemned: str = ""


def publish(run: Path, incarnation: str, deadline: Deadline) -> None:
    """Raises OSError."""
    record = Published(
        incarnation=incarnation,
        armed=deadline.armed,
        limit_s=deadline.limit_s,
        last_sent_boottime_s=deadline.last_sent_s,
        deadline_boottime_s=deadline.at_s(),
        promised_boottime_s=deadline.promised_s,
        condemned=deadline.condemned,
    )
    write_whole(run / NAME, msgspec.json.encode(record))


def restored(run: Path, incarnation: str, limit_s: float) -> Deadline:
    """The deadline a guard before us published in this incarnation, else a fresh one."""
    try:
        record = from_json((run / NAME).read_bytes(), Published)
    except (OSError, msgspec.MsgspecError):
        return Deadline(limit_s)
    if record.incarnation != incarnation:
        return Deadline(limit_s)
    return Deadline(
        record.limit_s, record.armed, record.last_sent_boottime_s, record.promised_boottime_s, record.condemned
    )
