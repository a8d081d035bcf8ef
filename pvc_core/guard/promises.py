"""What a coordinator promises to nodes that have lost the store as it has itself: not to agree to a verdict on them for
a while (safety A9). A verdict acts once a majority has agreed, a node lives on by the promises of a majority: the two
majorities share a coordinator, and that one first lets its promise run out.

Knows no network and no store. What may not be forgotten when the guard begins anew stands in /run/pvc/promises.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pvc_core.clock import Clock
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.incarnation import write_whole
from pvc_core.schema.typed import from_json

NAME = "promises"
RATE = 0.001
"""Two machines' clocks differ in rate by no more."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """`looked`: the verdicts were read in this incarnation, so `refused` and the store know all we agreed to."""

    incarnation: str
    looked: bool = False
    refused: tuple[str, ...] = ()


class Promises:
    """Safe from any thread. `silent_s`: how long this node itself must be unheard before it promises anything."""

    def __init__(
        self,
        run: Path,
        incarnation: str,
        *,
        coordinator: bool,
        promise_s: float,
        silent_s: float,
        clock: Clock,
        deadline: Deadline,
    ) -> None:
        self._path = run / NAME
        self._coordinator = coordinator
        self._promise_s = promise_s
        self._silent_s = silent_s
        self._clock = clock
        self._deadline = deadline
        self._lock = threading.Lock()
        self._kept = _read(self._path, incarnation)
        self._until_s: dict[str, float] = {}
        self._others_until_s = clock.boottime_s() + self._long(promise_s)
        """Promises that a guard before us may have given have run out by then."""

    def ask(self, life: str) -> float:
        """Promise to agree to no verdict on `life` for so many seconds from now; 0.0: no promise."""
        with self._lock:
            now_s = self._clock.boottime_s()
            if not self._coordinator or not self._kept.looked or life in self._kept.refused or not self._silent(now_s):
                return 0.0
            for old in [other for other, until_s in self._until_s.items() if until_s < now_s]:
                del self._until_s[old]
            self._until_s[life] = now_s + self._long(self._promise_s)
            return self._promise_s

    def looked(self) -> None:
        """Every verdict there is was read from the store, and each we had agreed to was refused. Raises OSError."""
        with self._lock:
            if not self._kept.looked:
                self._keep(_Kept(self._kept.incarnation, True, self._kept.refused))

    def refuse(self, life: str) -> None:
        """From now on `life` is promised nothing, also after this guard began anew. Raises OSError."""
        with self._lock:
            if life not in self._kept.refused:
                self._keep(_Kept(self._kept.incarnation, self._kept.looked, (*self._kept.refused, life)))

    def may_agree(self, life: str) -> bool:
        """It is refused, and whatever it was promised before has run out."""
        with self._lock:
            until_s = max(self._others_until_s, self._until_s.get(life, 0.0))
            return life in self._kept.refused and self._clock.boottime_s() >= until_s

    def _silent(self, now_s: float) -> bool:
        """Never heard in this incarnation is no evidence: whoever has just come up waits for the store."""
        sent_s = self._deadline.last_sent_s
        return sent_s is not None and now_s - sent_s > self._silent_s and not self._deadline.condemned

    def _keep(self, kept: _Kept) -> None:
        """First on record, then believed."""
        write_whole(self._path, msgspec.json.encode(kept))
        self._kept = kept

    def _long(self, seconds: float) -> float:
        return seconds * (1 + RATE)


def _read(path: Path, incarnation: str) -> _Kept:
    try:
        kept = from_json(path.read_bytes(), _Kept)
    except (OSError, msgspec.MsgspecError):
        return _Kept(incarnation)
    return kept if kept.incarnation == incarnation else _Kept(incarnation)
