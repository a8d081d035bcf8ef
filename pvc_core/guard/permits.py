"""Launch permits: without a file /run/pvc/permits/UUID that is still valid, the hypervisor's own hook starts no guest.

A permit names the claim's generation and ends with the node's deadline, so that a call which was queued and comes late
starts nothing (design rule 1). The files are for the hook to read; who may run a guest is decided by pvcnoded.
"""

from __future__ import annotations

import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from pvc_core.clock import Clock
from pvc_core.errors import Invalid, Permanent, Refused
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.generations import Generations
from pvc_core.guard.incarnation import write_whole
from pvc_core.ids import checked_uuid
from pvc_core.schema.typed import from_json

NAME = "permits"
LONGEST_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """The file's content, and what the hook of a compute plugin reads."""

    generation: int
    deadline_boottime_s: float
    kind: Literal["start", "incoming"]


class Permits:
    """Gives, takes back and sweeps. Safe from any thread; `deadline` is asked at every permit."""

    def __init__(self, run: Path, clock: Clock, deadline: Deadline) -> None:
        """Makes the directory. Raises OSError, Permanent (somebody else's directory is in its place)."""
        self._directory = run / NAME
        self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        _demand_ours(self._directory)
        self._generations = Generations(run)
        self._clock = clock
        self._deadline = deadline
        self._lock = threading.Lock()

    def give(self, uuid: str, generation: int, kind: Literal["start", "incoming"], for_s: float) -> Permit:
        """A permit for at most `for_s` seconds, written when this returns. An earlier one for `uuid` is replaced.

        Raises Refused (the node's deadline has passed; a higher generation was permitted before), Invalid, OSError.
        """
        uuid = checked_uuid(uuid)
        if generation < 0 or not 0 < for_s <= LONGEST_S:
            raise Invalid(
                f"{uuid} cannot be permitted for {for_s:g} s with generation {generation}",
                help=f"for_s is above 0 and at most {LONGEST_S:g}, a generation is not negative",
            )
        with self._lock:
            now_s = self._clock.boottime_s()
            self._demand_time(uuid, now_s)
            self._demand_generation(uuid, generation)
            end_s = now_s + for_s
            at_s = self._deadline.at_s()
            permit = Permit(
                generation=generation, deadline_boottime_s=end_s if at_s is None else min(end_s, at_s), kind=kind
            )
            write_whole(self._directory / uuid, msgspec.json.encode(permit))
        return permit

    def revoke(self, uuid: str) -> bool:
        """No start under an earlier permit begins after this returned; whether there was one.

        Raises Invalid, OSError.
        """
        with self._lock:
            try:
                (self._directory / checked_uuid(uuid)).unlink()
            except FileNotFoundError:
                return False
        return True

    def end(self) -> None:
        """No permit is left when this returns; that none is given any more is the deadline's. Raises OSError."""
        with self._lock:
            for path in self._directory.iterdir():
                path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what has ended or is no permit. Raises OSError."""
        with self._lock:
            now_s = self._clock.boottime_s()
            for path in self._directory.iterdir():
                if not is_valid(path, now_s):
                    path.unlink(missing_ok=True)

    def _demand_time(self, uuid: str, now_s: float) -> None:
        if self._deadline.condemned:
            raise Refused(
                f"no guest may start here (asked for {uuid}): this node is given up: {self._deadline.condemned}",
                help="it ends its guests and comes back as a new incarnation by itself",
            )
        if self._deadline.has_passed(now_s):
            raise Refused(
                f"no guest may start here (asked for {uuid}): the store has not heard this node for its limit of "
                f"{self._deadline.limit_s:g} s, so others may have taken its guests",
                help="it is permitted again as soon as a heartbeat is accepted",
            )

    def _demand_generation(self, uuid: str, generation: int) -> None:
        given = self._generations.highest(uuid)
        if generation < given:
            raise Refused(
                f"no permit for {uuid} with generation {generation}: generation {given} was permitted before",
                help="the claim has changed since; read it again",
            )
        if generation > given:
            self._generations.raise_to(uuid, generation)


def _demand_ours(directory: Path) -> None:
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise Permanent(
            f"{directory} is not a directory that only root can write: anybody could permit a start there",
            help="remove it and find out who made it",
        )


def is_valid(path: Path, now_s: float) -> bool:
    """What the hypervisor's hook asks."""
    try:
        return from_json(path.read_bytes(), Permit).deadline_boottime_s > now_s
    except (OSError, msgspec.MsgspecError):
        return False
