"""Tasks: submit one, look at it, wait for its end."""

from __future__ import annotations

from collections.abc import Mapping

from pvc_core import errors
from pvc_core.cluster import layout
from pvc_core.cluster.repository import Add, Write
from pvc_core.errors import NotFound, PvcError, Retry
from pvc_core.model.task import Task, TaskState
from pvc_core.services.desk import Desk

_errors = {kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PvcError)}


class TaskService:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list(self) -> list[Task]:
        """Oldest first."""
        return sorted((kept.value for kept in self._desk.view.tasks.values()), key=lambda task: task.asked_at_s)

    def get(self, task_id: str) -> Task:
        kept = self._desk.view.tasks.get(task_id)
        if kept is None:
            raise NotFound(f"there is no task {task_id!r}", help="ended tasks are kept for a day")
        return kept.value

    def new(self, kind: str, *, node: str, args: Mapping[str, object], by: str, status: str) -> Task:
        """A task, not yet written: put it into a commit with what belongs to it (`Add(layout.TASKS, task.id,
        task)`).
        """
        return Task(
            id=self._desk.new_task_id(),
            kind=kind,
            node=node,
            args=dict(args),
            status=status,
            asked_by=by,
            asked_at_s=self._desk.clock.wall_s(),
        )

    def submit(self, task: Task, *writes: Write) -> Task:
        self._desk.commit(Add(layout.TASKS, task.id, task), *writes)
        return task

    def wait(self, task_id: str, *, timeout_s: float = 3600.0) -> Task:
        """Block until the task has ended. Raises Retry when it has not within `timeout_s` (it goes on)."""

        def ended(view: object) -> bool:
            kept = self._desk.view.tasks.get(task_id)
            return kept is None or kept.value.ended

        self._desk.settle_keys(layout.TASKS.key(task_id))
        if not self._desk.wait_until(ended, timeout_s=timeout_s):
            raise Retry(f"task {task_id} has not ended yet", help=f"it goes on; look with `pvc task info {task_id}`")
        return self.get(task_id)

    def done(self, task: Task, *, timeout_s: float = 3600.0) -> Task:
        """Wait for the task and raise its error, as the class it had, if it failed."""
        ended = self.wait(task.id, timeout_s=timeout_s)
        if ended.state is TaskState.FAILURE:
            raise _errors.get(ended.error_code, PvcError)(ended.status, help=ended.error_help)
        return ended
