"""Until when this node may go on without the store (design rule 7). Pure: time is handed in.

The deadline is L after the *sending* of the last accepted heartbeat, on this node's own CLOCK_BOOTTIME. What happens at
it is loop.py's; that it outlives a restart of the guard is published.py's.
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

    def sending(self, *, armed: bool, limit_s: float) -> None:
        self.armed = self.armed or armed
        self.limit_s = min(self.limit_s, limit_s)

    def accepted(self, sent_s: float, *, armed: bool, limit_s: float) -> None:
        """A heartbeat with these promises, sent at `sent_s`, is in the store."""
        if self.last_sent_s is None or sent_s > self.last_sent_s:
            self.last_sent_s, self.armed, self.limit_s = sent_s, armed, limit_s

    def at_s(self) -> float | None:
        """Boot time after which nothing new may run here; None when nothing limits it."""
        if not self.armed:
            return None
        return 0.0 if self.last_sent_s is None else self.last_sent_s + self.limit_s

    def has_passed(self, now_s: float) -> bool:
        at_s = self.at_s()
        return at_s is not None and now_s >= at_s
