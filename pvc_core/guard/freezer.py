"""Freezes the guests of a node that may have been given up, and thaws them when it was not (design rule 7).

A frozen guest executes nothing and loses nothing: SIGSTOP to each process, its taps down. What was frozen stands in
/run/pvc/frozen.json before it is done, so that a guard that begins anew can thaw it. When to is watch.py's.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from pvc_core.clock import Clock
from pvc_core.guard import links
from pvc_core.guard.incarnation import write_whole
from pvc_core.guard.processes import Guest, Processes, Standing
from pvc_core.guard.report import read_report
from pvc_core.schema.typed import from_json

NAME = "frozen.json"
_BELIEVED_S = 15.0
"""What pvcnoded said longer ago than this no longer spares a guest; it says it every 2 s, store or no store."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """One guest we stopped. `taps`: devices we took down."""

    guest: Guest
    taps: tuple[str, ...] = ()


class Freezer:
    """One thread uses it. What fails for one guest is collected and told; the others go on."""

    def __init__(
        self, run: Path, processes: Processes, clock: Clock, set_up: Callable[[str, bool], None] = links.set_up
    ) -> None:
        self._path = run / NAME
        self._run = run
        self._clock = clock
        self._processes = processes
        self._set_up = set_up
        self._frozen = _read(self._path)
        self.faults: list[str] = []
        """Of the last freeze() or thaw(), in words."""

    @property
    def frozen(self) -> list[Guest]:
        """Whom we stopped and have not let go again."""
        return [item.guest for item in self._frozen]

    def freeze(self) -> list[Guest]:
        """One pass: to be called again while guests may not run, for those that appear late.

        Returns those that are seen not to stand still yet. Raises OSError when /proc cannot be read.
        """
        self.faults = []
        spared = self._only_here()
        guests = [guest for guest in self._processes.guests() if guest.uuid not in spared]
        known = set(self.frozen)
        running = [guest for guest in guests if self._processes.standing(guest) is not Standing.STOPPED]
        self._keep([*self._frozen, *(Frozen(guest) for guest in running if guest not in known)])
        for guest in running:
            self._attempt(f"guest {guest.uuid} cannot be stopped", self._processes.send, guest, signal.SIGSTOP)
        for guest in guests:
            self._cut_off(guest)
        return [guest for guest in guests if self._processes.standing(guest) not in (Standing.STOPPED, Standing.GONE)]

    def thaw(self) -> None:
        """Whoever we stopped runs again, its taps first. What fails is tried again by the next call."""
        self.faults = []
        left = [item for item in self._frozen if not self._let_go(item)]
        if self._frozen:
            self._keep(left)

    def forget(self) -> None:
        """They are all gone."""
        self._keep([])

    def _only_here(self) -> tuple[str, ...]:
        """Guests that no other node could claim; who is not named, or was named long ago, is frozen."""
        now_s = self._clock.boottime_s()
        report = read_report(self._run, now_s)
        return report.only_here if report and now_s - report.at_boottime_s <= _BELIEVED_S else ()

    def _cut_off(self, guest: Guest) -> None:
        """Only of a guest of ours; a device that was down before stays so when it is thawed."""
        at = next((index for index, item in enumerate(self._frozen) if item.guest == guest), None)
        if at is None:
            return
        try:
            new = [tap for tap in self._processes.taps(guest) if tap not in self._frozen[at].taps and links.is_up(tap)]
        except OSError as error:
            self.faults.append(f"the network devices of guest {guest.uuid} cannot be found: {error}")
            return
        if new:
            self._frozen[at] = replace(self._frozen[at], taps=(*self._frozen[at].taps, *new))
            self._keep(self._frozen)
        for tap in self._frozen[at].taps:
            self._attempt(f"network device {tap} of guest {guest.uuid} cannot be taken down", self._set_up, tap, False)

    def _let_go(self, item: Frozen) -> bool:
        uuid = item.guest.uuid
        up = [self._attempt(f"device {tap} of guest {uuid} stays down", self._set_up, tap, True) for tap in item.taps]
        runs = self._attempt(f"guest {uuid} cannot be continued", self._processes.send, item.guest, signal.SIGCONT)
        return runs and all(up)

    def _keep(self, frozen: list[Frozen]) -> None:
        """Told, not raised: a full /run must not keep a guest running."""
        self._frozen = frozen
        try:
            if frozen:
                write_whole(self._path, msgspec.json.encode(frozen))
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            fault = f"which guests are frozen cannot be kept in {self._path}: {error.strerror}"
            self.faults.extend([fault] if fault not in self.faults else [])

    def _attempt(self, what: str, act: Callable[..., None], *args: object) -> bool:
        try:
            act(*args)
        except OSError as error:
            self.faults.append(f"{what}: {error.strerror or os.strerror(error.errno or 0)}")
            return False
        return True


def _read(path: Path) -> list[Frozen]:
    try:
        return from_json(path.read_bytes(), list[Frozen])
    except (OSError, msgspec.MsgspecError):
        return []
