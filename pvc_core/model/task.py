# SPDX-License-Identifier: LGPL-3.0-or-later
"""A task: a longer piece of work that is reconciled like everything else, and survives the daemon that does it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class TaskState(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """`node` names who alone can do it; "" leaves it to the primary, and to the next primary after that.

    `kind` names a file in reconcile/kinds; `checkpoint` is what a step left for the one after it (also after a crash).
    """

    id: str
    kind: str
    node: str = ""
    args: dict[str, object] = field(default_factory=dict)
    state: TaskState = TaskState.PENDING
    current: int = 0
    total: int = 1
    status: str = ""
    """One sentence."""
    result: dict[str, object] = field(default_factory=dict)
    error_code: str = ""
    """Of a failed task: PvcError.code."""
    error_help: str = ""
    checkpoint: dict[str, object] = field(default_factory=dict)
    asked_by: str = ""
    asked_at_s: float = 0.0
    ended_at_s: float = 0.0

    @property
    def ended(self) -> bool:
        return self.state in (TaskState.SUCCESS, TaskState.FAILURE)
