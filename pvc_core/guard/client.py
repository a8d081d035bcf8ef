"""pvcguard as pvcnoded sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pvc_core.guard import incarnation
from pvc_core.guard.answers import GuardStatus
from pvc_core.peer import ask
from pvc_core.schema.typed import from_plain

SOCKET = "guard.sock"


class Guard:
    """Asks the guard of this node; `run` is paths.run.

    Every call raises peer.Unreachable (a Retry) when the guard is not there.
    """

    def __init__(self, run: Path, *, incarnation: str = "", deadline_s: float = 2.0) -> None:
        """`incarnation`: permits are asked for in this one only; "" for whichever there is."""
        self._run = run
        self._incarnation = incarnation
        self._deadline_s = deadline_s

    def incarnation(self) -> str:
        """Of this node, read from its file: needs no guard that answers, only one that was there since boot."""
        return incarnation.read(self._run)

    def permit(
        self, uuid: str, *, generation: int, kind: Literal["start", "incoming"] = "start", for_s: float = 30.0
    ) -> float:
        """Let the hypervisor start guest `uuid` from now on; returns the boot time at which the permit ends.

        That is at most `for_s` (0 to 600) seconds away and not after the node's own deadline. Raises Refused (the
        deadline has passed; a higher generation was permitted before; the incarnation is over), Invalid, Permanent
        (/run cannot be written).
        """
        args = {"uuid": uuid, "generation": generation, "kind": kind, "for_s": for_s, "incarnation": self._incarnation}
        return float(self._ask("permit", args)["deadline_boottime_s"])

    def revoke(self, uuid: str) -> bool:
        """No start of `uuid` begins any more; returns whether a permit was there. Raises Invalid, Permanent."""
        return bool(self._ask("revoke", {"uuid": uuid})["revoked"])

    def status(self) -> GuardStatus:
        return from_plain(self._ask("status", {}), GuardStatus)

    def _ask(self, name: str, args: dict[str, Any]) -> dict[str, Any]:
        return ask(self._run / SOCKET, name, args, deadline_s=self._deadline_s).result
