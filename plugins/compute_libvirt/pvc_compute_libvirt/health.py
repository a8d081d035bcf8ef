"""What this plugin tells the node's health: a libvirtd that does not answer. Guests run on without it, so nothing else
would be wrong with the node.
"""

from __future__ import annotations

from collections.abc import Callable

from pvc_core.hookspecs import hookimpl
from pvc_core.model.node import HealthSeen

AWAY_S = 15.0
"""A restart of libvirtd, with all guests to find again, is no fault."""


class Health:
    """`away_s` says for how long there has been no connection to libvirtd, 0.0 while there is one."""

    def __init__(self, away_s: Callable[[], float]) -> None:
        self._away_s = away_s

    @hookimpl
    def pvc_collect_health(self) -> list[HealthSeen]:
        if self._away_s() <= AWAY_S:
            return []
        # No figure in it: a sentence that changes is written to the store each time.
        message = (
            "libvirtd does not answer: guests run on, none is started, stopped or moved here; "
            "`systemctl status libvirtd` there"
        )
        return [HealthSeen(plugin="compute_libvirt", delta=25, message=message)]
