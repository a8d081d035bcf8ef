"""What pvcnoded hands to the guard for the heartbeat, in a file: so no question between the two delays either.

pvcnoded writes it (daemon/report.py), the guard reads it at each beat and says how old it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from pvc_core.guard.incarnation import write_whole
from pvc_core.schema.typed import from_json

NAME = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`at_boottime_s` is this node's own clock since boot, and so void after the next one."""

    at_boottime_s: float
    running: tuple[str, ...] = ()
    """UUIDs of the guests pvcnoded saw running."""
    memory_allocated_bytes: int = 0
    memory_provisioned_bytes: int = 0
    vcpus_allocated: int = 0
    only_here: tuple[str, ...] = ()
    """UUIDs of guests that no other node could claim: they are never frozen."""


def write_report(run: Path, report: Report) -> None:
    """Raises OSError."""
    write_whole(run / NAME, msgspec.json.encode(report))


def read_report(run: Path, now_s: float) -> Report | None:
    """None when there is none that can be read, or it is of an earlier boot."""
    try:
        report = from_json((run / NAME).read_bytes(), Report)
    except (OSError, msgspec.MsgspecError):
        return None
    return report if report.at_boottime_s <= now_s else None
