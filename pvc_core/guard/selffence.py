"""What the deadline means for this node's guests: frozen when it passes, thawed when a heartbeat is accepted after all,
killed when the incarnation is given up (design rule 7).

Knows no store and no network. When it is stepped, and that it always is, is watch.py's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from pvc_core.daemon.once import Once
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.ending import Ending
from pvc_core.guard.freezer import Freezer
from pvc_core.guard.processes import Guest

_BUSY_S, _AGAIN_S = 0.05, 1.0
"""Between two looks while guests still run, and once all stand still: a late one may appear."""

_log = logging.getLogger("pvcguard")


class SelfFence:
    """`freeze_s` is K, in which guests stand still or are gone; `reset` resets the machine when they do not."""

    def __init__(
        self,
        deadline: Deadline,
        freezer: Freezer,
        ending: Ending,
        once: Once,
        *,
        freeze_s: float,
        reset: Callable[[], None] | None = None,
    ) -> None:
        self._deadline = deadline
        self._freezer = freezer
        self._ending = ending
        self._once = once
        self._freeze_s = freeze_s
        self._reset = reset
        self._ends = False
        self._since_s: float | None = None
        self._heard_s: float | None = None
        self._next_s = 0.0
        self.safe = True
        """Whether the guests of this node may run, or stand still and were seen to. Else the watchdog is not fed."""
        self.over = False
        """The incarnation is given up and all its guests are gone."""

    @property
    def killed(self) -> int:
        return self._ending.killed

    def step(self, now_s: float) -> None:
        """Raises OSError when /proc cannot be read: then it is not known what runs, and nothing is safe."""
        if not self._deadline.condemned and not self._deadline.has_passed(now_s):
            self._permit()
            return
        if self._deadline.condemned and not self._ends:
            self._ends, self._since_s = True, None
        if self._since_s is None:
            self._since_s, self._heard_s, self._next_s, self.safe = now_s, self._deadline.last_sent_s, now_s, False
        if now_s < self._next_s:
            return
        try:
            left = self._end(now_s) if self._deadline.condemned else self._freeze()
        except OSError:
            self.safe = False
            raise
        self.safe = not left
        self._next_s = now_s + (_AGAIN_S if self.safe and not self._deadline.condemned else _BUSY_S)
        self._insist(left, now_s)

    def next_s(self, now_s: float) -> float:
        """How long may be waited until the next step."""
        if self._since_s is not None:
            return max(0.0, self._next_s - now_s)
        at_s = self._deadline.at_s()
        return _AGAIN_S if at_s is None else max(0.0, at_s - now_s)

    def _permit(self) -> None:
        """Only a heartbeat accepted since lets them go on; a promise that comes too late does not."""
        heard = self._since_s is None or self._deadline.last_sent_s != self._heard_s or not self._deadline.armed
        if not heard:
            return
        self._since_s, self.safe = None, True
        frozen = self._freezer.frozen
        if not frozen:
            return
        self._freezer.thaw()
        self._tell_faults()
        left = len(self._freezer.frozen)
        _log.warning("a heartbeat was accepted: %d guests that stood still run again", len(frozen) - left)

    def _freeze(self) -> list[Guest]:
        before = set(self._freezer.frozen)
        left = self._freezer.freeze()
        self._tell_faults()
        for guest in self._freezer.frozen:
            if guest not in before:
                _log.warning("guest %s stands still: another node may have been given it", guest.uuid)
        return left

    def _end(self, now_s: float) -> list[Guest]:
        left = self._ending.step(now_s)
        if not left and self._ending.done(now_s):
            self._freezer.forget()
            self.over = True
        return left

    def _tell_faults(self) -> None:
        if self._freezer.faults:
            self._once.begin("freeze", "; ".join(self._freezer.faults), level=logging.ERROR)
        else:
            self._once.end("freeze", "guests can be stopped and continued again")

    def _insist(self, left: Sequence[Guest], now_s: float) -> None:
        """Past K with a guest that neither stands still nor is gone. Its process waits in the kernel as a rule."""
        if not left or self._since_s is None or now_s - self._since_s <= self._freeze_s:
            self._once.end("stuck", "all guests stand still or are gone")
            return
        names = ", ".join(f"{guest.uuid} (process {guest.pid})" for guest in left)
        done = "killed" if self._deadline.condemned else "stopped"
        self._once.begin("stuck", f"guests that cannot be {done}: {names}", level=logging.ERROR)
        if self._reset is not None:
            self._reset()
