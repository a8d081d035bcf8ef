"""Who asks, and may they. Keys are kept and compared by the services; here they are taken from the request."""

from __future__ import annotations

from dataclasses import dataclass

from pvc_api_falcon.attempts import Attempts
from pvc_api_falcon.errors import Unauthenticated
from pvc_api_falcon.workers import Workers
from pvc_core.services import Services

COOKIE = "pvc_session"
"""Holds an API key (routes/login.py)."""
CHECKS_AT_ONCE = 2
CHECKS_WAITING = 32


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    role: str


LOCAL = Caller("local", "admin")
"""Whoever may open the socket."""
ANYBODY = Caller("anybody", "admin")
"""With `key_required: false`."""


NOBODY = Caller("", "")
"""On routes that need no key."""


class Doorkeeper:
    """Wrong keys cost a hash each (50 ms, on purpose): two threads do them, so that guessing delays only guessers."""

    def __init__(self, services: Services, *, key_required: bool, failures: int) -> None:
        self._services, self._key_required = services, key_required
        self._attempts = Attempts(failures, services.desk.clock.boottime_s)
        self._checks = Workers("pvc-api-key", CHECKS_AT_ONCE, CHECKS_WAITING)

    async def admit(self, key: str | None, *, local: bool, address: str) -> Caller:
        """Raises Unauthenticated; TooMany when `address` was wrong too often; Retry while too many wrong keys are being
        tried. A key that was right before is let in whoever else guesses from there.
        """
        if local:
            return LOCAL
        if key is None:
            if not self._key_required:
                return ANYBODY
            raise Unauthenticated("X-Api-Key Authentication required.", help="send an API key in the header X-Api-Key")
        found = self._services.keys.remembered(key)
        if found is None:
            self._attempts.check(address)
            found = await self._checks.run(lambda: self._services.keys.who(key))
        if found is None:
            self._attempts.failed(address)
            raise Unauthenticated("X-Api-Key Authentication required.", help="this key is not known; was it removed?")
        return Caller(found.name, found.role)
