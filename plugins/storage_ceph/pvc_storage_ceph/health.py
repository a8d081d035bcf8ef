"""What this plugin tells the node's health: Ceph's own checks, in Ceph's words; and when Ceph cannot be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pvc_core.errors import PvcError
from pvc_core.hookspecs import hookimpl
from pvc_core.model.node import HealthSeen


class Health:
    """`status` asks Ceph now, and raises PvcError. Every node tells whether it can ask; Ceph's checks are the same for
    all, so only the primary's node shows them, and what they cost the cluster is their faults' (report.py).
    """

    def __init__(self, status: Callable[[], dict[str, Any]], is_primary: Callable[[], bool] = lambda: True) -> None:
        self._status, self._is_primary = status, is_primary

    @hookimpl
    def pvc_collect_health(self) -> list[HealthSeen]:
        try:
            health = self._status()["health"]
        except PvcError as error:
            return [HealthSeen(plugin="storage_ceph", delta=50, message=f"Ceph cannot be asked: {error.message}")]
        if not self._is_primary():
            return []
        return [_finding(name, check) for name, check in sorted(health.get("checks", {}).items())]


def _finding(name: str, check: dict[str, Any]) -> HealthSeen:
    said = check.get("summary", {}).get("message", name)
    return HealthSeen(plugin="storage_ceph", delta=0, message=f"Ceph: {said} ({name})")
