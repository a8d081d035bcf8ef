"""Who is there: sessions, their passwords and when they were last heard.

Sessions are not kept on disk: they die with the server, and their ephemeral keys with them. Numbers never come again.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable

MIN_TIMEOUT_S = 0.5
MAX_TIMEOUT_S = 60.0


class Session:
    """`timeout_s` without a word from its client and it is over. `connection` is whatever carries it now, or None."""

    def __init__(self, id_: int, timeout_s: float, now_s: float) -> None:
        self.id = id_
        self.password = secrets.token_bytes(16)
        self.timeout_s = timeout_s
        self.heard_s = now_s
        self.connection: object | None = None


class Sessions:
    """Every live session. Times are seconds on the monotonic clock, handed in."""

    def __init__(self, first_id: int) -> None:
        self._next_id = first_id
        self._sessions: dict[int, Session] = {}

    def open(self, timeout_s: float, now_s: float) -> Session:
        session = Session(self._next_id, negotiated(timeout_s), now_s)
        self._next_id += 1
        self._sessions[session.id] = session
        return session

    def resume(self, id_: int, password: bytes, timeout_s: float, now_s: float) -> Session | None:
        """The session if it lives and the password is its own."""
        session = self._sessions.get(id_)
        if session is None or not hmac.compare_digest(session.password, password):
            return None
        session.timeout_s, session.heard_s = negotiated(timeout_s), now_s
        return session

    def lives(self, session: Session) -> bool:
        return session.id in self._sessions

    def end(self, session: Session) -> None:
        self._sessions.pop(session.id, None)

    def overdue(self, now_s: float) -> Iterable[Session]:
        return [session for session in self._sessions.values() if now_s - session.heard_s > session.timeout_s]

    def forgive(self, seconds: float) -> None:
        """The server itself was not running for so long: silence meanwhile says nothing about the clients."""
        for session in self._sessions.values():
            session.heard_s += seconds


def negotiated(timeout_s: float) -> float:
    return min(max(timeout_s, MIN_TIMEOUT_S), MAX_TIMEOUT_S)
