"""What this plugin tells the node's health: Ceph's own checks, in Ceph's words; and when Ceph cannot be asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pvc_core.errors import PvcError
from pvc_core.hookspecs import hookimpl
from pvc_core.model.node import HealthSeen

PATIENCE_S = 1.0
"""Hooks have two seconds. Ceph's first answer to a node takes longer: its keys are made before."""


class Health:
    """`status` asks Ceph now, and raises PvcError. Every node tells whether it can ask; Ceph's checks are the same for
    all, so only the primary's node shows them, and what they cost the cluster is their faults' (report.py).
    """

    def __init__(
        self,
        status: Callable[[], dict[str, Any]],
        is_primary: Callable[[], bool] = lambda: True,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._status, self._is_primary, self._patience_s = status, is_primary, patience_s
        self._question: _Question | None = None
        self._last: list[HealthSeen] = []

    @hookimpl
    def pvc_collect_health(self) -> list[HealthSeen]:
        """What Ceph says now; while it lets us wait, what was said last: the question has a deadline of its own, past
        which it says that Ceph cannot be asked.
        """
        question = self._question = self._question or _Question.begun(self._found)
        if question.answered.wait(self._patience_s):
            self._question, self._last = None, question.found
        return self._last

    def _found(self) -> list[HealthSeen]:
        try:
            health = self._status()["health"]
        except PvcError as error:
            return [HealthSeen(plugin="storage_ceph", delta=50, message=f"Ceph cannot be asked: {error.message}")]
        if not self._is_primary():
            return []
        return [_finding(name, check) for name, check in sorted(health.get("checks", {}).items())]


@dataclass
class _Question:
    """On a thread of its own, which ends with the process."""

    ask: Callable[[], list[HealthSeen]]
    found: list[HealthSeen] = field(default_factory=list)
    answered: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def begun(cls, ask: Callable[[], list[HealthSeen]]) -> _Question:
        question = cls(ask)
        threading.Thread(target=question._run, name="storage_ceph health", daemon=True).start()
        return question

    def _run(self) -> None:
        try:
            self.found = self.ask()
        finally:
            self.answered.set()


def _finding(name: str, check: dict[str, Any]) -> HealthSeen:
    said = check.get("summary", {}).get("message", name)
    return HealthSeen(plugin="storage_ceph", delta=0, message=f"Ceph: {said} ({name})")
