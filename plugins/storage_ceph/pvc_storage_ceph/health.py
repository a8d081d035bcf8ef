"""What this plugin tells the node's health: Ceph's own checks, in Ceph's words; and when Ceph cannot be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pvc_core.errors import PvcError
from pvc_core.hookspecs import hookimpl
from pvc_core.model.node import HealthSeen

_COSTS = {"HEALTH_OK": 0, "HEALTH_WARN": 10, "HEALTH_ERR": 50}


class Health:
    """`status` asks Ceph now. Raises PvcError."""

    def __init__(self, status: Callable[[], dict[str, Any]]) -> None:
        self._status = status

    @hookimpl
    def pvc_collect_health(self) -> list[HealthSeen]:
        try:
            health = self._status()["health"]
        except PvcError as error:
            return [HealthSeen(plugin="storage_ceph", delta=50, message=f"Ceph cannot be asked: {error.message}")]
        return [_finding(name, check) for name, check in sorted(health.get("checks", {}).items())]


def _finding(name: str, check: dict[str, Any]) -> HealthSeen:
    said = check.get("summary", {}).get("message", name)
    return HealthSeen(
        plugin="storage_ceph", delta=_COSTS.get(check.get("severity", ""), 10), message=f"Ceph: {said} ({name})"
    )
