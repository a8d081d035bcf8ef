"""Until when this node may go on without the store (design rule 7). Pure: time is handed in.

The deadline is L after the *sending* of the last accepted heartbeat, on this node's own CLOCK_BOOTTIME, or as long as
a majority of coordinators that have no store either promised. What happens at it is watch.py's; that it outlives a
restart of the guard is published.py's.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Deadline:
    """`armed`: another node could start this one's guests, so the deadline counts. `limit_s` is L.

    Arming and a shorter limit take effect when the heartbeat that says so is sent, disarming and a longer limit when
    one that says so was accepted: at any time this node is as careful as what others may have heard from it.
    """

    limit_s: float
    armed: bool = False
    last_sent_s: float | None = None
    """When the last accepted heartbeat was sent; None: none was in this incarnation."""
    promised_s: float = 0.0
    """Until then a majority of coordinators agrees to no verdict on this incarnation."""
    condemned: str = ""
    """Why this incarnation is given up: for ever, nothing of it may run any more."""

    def sending(self, *, armed: bool, limit_s: float) -> None:
        self.armed = self.armed or armed
        self.limit_s = min(self.limit_s, limit_s)

    def accepted(self, sent_s: float, *, armed: bool, limit_s: float) -> None:
        """A heartbeat with these promises, sent at `sent_s`, is in the store."""
        if self.last_sent_s is None or sent_s > self.last_sent_s:
            self.last_sent_s, self.armed, self.limit_s = sent_s, armed, limit_s

    def prolong(self, until_s: float, now_s: float) -> None:
        """A majority promised at `now_s`. Too late is too late: after the deadline only a heartbeat counts."""
        if not self.has_passed(now_s):
            self.promised_s = max(self.promised_s, until_s)

    def at_s(self) -> float | None:
        """Boot time after which no guest that another node could claim may run here; None when nothing limits it."""
        if self.condemned:
            return 0.0
        if not self.armed:
            return None
        return 0.0 if self.last_sent_s is None else max(self.last_sent_s + self.limit_s, self.promised_s)

    def has_passed(self, now_s: float) -> bool:
        at_s = self.at_s()
        return at_s is not None and now_s >= at_s
