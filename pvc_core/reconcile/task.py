"""Tasks: whoever one belongs to carries it out, and goes on with it after a crash. What each does is in kinds/."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Drop, Set, Write
from pvc_core.errors import Conflict, NotFound, Permanent, PvcError, Retry, StoreUnavailable
from pvc_core.model.task import Task, TaskState
from pvc_core.model.view import ClusterView, Kept
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

PROGRESS_S = 0.5
"""Progress is written no more often: it is for a person's eyes."""
KEPT_S = 86_400.0
GIVE_UP_S = 3600.0
"""A task that could not be done for so long (Retry each time) has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A task's good end: its sentence, its result, and what is written in the same commit."""

    status: str
    result: dict[str, object] = field(default_factory=dict)
    writes: tuple[Write, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a kind is called with."""

    ground: Ground
    task: Task
    progress: Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskKind:
    """`do` is idempotent: after a crash it is called again from the beginning. `undo` says what to write when it
    failed for

    good, after removing what was half-made.
    """

    do: Callable[[Job], Done]
    undo: Callable[[Job, PvcError], tuple[Write, ...]] = lambda job, error: ()


@dataclass(frozen=True, slots=True)
class TaskReconciler:
    ground: Ground
    kinds: Mapping[str, TaskKind]
    kind: str = "task"

    def keys(self, view: ClusterView) -> Iterable[str]:
        return view.tasks.keys()

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        return found[1] if found and found[0] is layout.TASKS else None

    def step(self, key: str) -> Outcome:
        kept = self.ground.view.tasks.get(key)
        if kept is None or not self.ground.view.fresh or not self._mine(kept.value):
            return Outcome("")
        if kept.value.ended:
            return self._sweep(kept)
        found = self.kinds.get(kept.value.kind)
        if found is None:
            error = Permanent(f"this node does not know tasks of kind {kept.value.kind!r}", help="upgrade it")
            return self._end(kept.value.id, replace(kept.value, state=TaskState.FAILURE, **_words(error)), ())
        return self._carry_out(self._begin(kept), found)

    def note(self, key: str, outcome: Outcome) -> None:
        """A task that waits says so where people look."""
        kept = self.ground.view.tasks.get(key)
        if (
            outcome.sentence
            and kept is not None
            and not kept.value.ended
            and self._mine(kept.value)
            and kept.value.status != outcome.sentence
        ):
            self._try_save(key, replace(kept.value, status=outcome.sentence))

    def _mine(self, task: Task) -> bool:
        return task.node == self.ground.node or (not task.node and self.ground.is_primary())

    def _begin(self, kept: Kept[Task]) -> Task:
        if kept.value.state is TaskState.RUNNING:
            return kept.value
        running = replace(kept.value, state=TaskState.RUNNING)
        self.ground.commit(Set(layout.TASKS, running.id, running, kept.version))
        return running

    def _carry_out(self, task: Task, kind: TaskKind) -> Outcome:
        job = Job(ground=self.ground, task=task, progress=self._progress(task))
        try:
            done = kind.do(job)
        except (Retry, Conflict, StoreUnavailable) as error:
            if isinstance(error, Retry) and self.ground.clock.wall_s() - task.asked_at_s > GIVE_UP_S:
                return self._fail(job, kind, Permanent(f"given up after an hour: {error}"))
            raise
        except PvcError as error:
            return self._fail(job, kind, error)
        ended = replace(
            task,
            state=TaskState.SUCCESS,
            status=done.status,
            result=done.result,
            current=max(1, task.total),
            total=max(1, task.total),
            ended_at_s=self.ground.clock.wall_s(),
        )
        return self._end(task.id, ended, done.writes)

    def _fail(self, job: Job, kind: TaskKind, error: PvcError) -> Outcome:
        writes = kind.undo(job, error)
        ended = replace(job.task, state=TaskState.FAILURE, ended_at_s=self.ground.clock.wall_s(), **_words(error))
        return self._end(job.task.id, ended, writes)

    def _end(self, id: str, task: Task, writes: tuple[Write, ...]) -> Outcome:
        """Its end and its effect on records are one commit; progress written meanwhile only moved its version."""
        kept = self.ground.repository.get(layout.TASKS, id)
        self.ground.commit(Set(layout.TASKS, id, task, kept.version), *writes)
        return Outcome(f"{task.state}: {task.status}")

    def _progress(self, task: Task) -> Callable[[int, int, str], None]:
        last_s = [0.0]

        def progress(current: int, total: int, sentence: str) -> None:
            now = self.ground.clock.boottime_s()
            if now - last_s[0] >= PROGRESS_S:
                last_s[0] = now
                self._try_save(task.id, replace(task, current=current, total=total, status=sentence))

        return progress

    def _try_save(self, id: str, task: Task) -> None:
        try:
            kept = self.ground.repository.get(layout.TASKS, id)
            if not kept.value.ended:
                self.ground.repository.set(layout.TASKS, id, task, if_version=kept.version)
        except (Conflict, NotFound, StoreUnavailable):
            pass  # only a progress bar is the poorer

    def _sweep(self, kept: Kept[Task]) -> Outcome:
        """Forget it a day after its end."""
        left_s = kept.value.ended_at_s + KEPT_S - self.ground.clock.wall_s()
        if left_s > 0:
            return Outcome("", min(left_s, 3600.0))
        self.ground.commit(Drop(layout.TASKS, kept.value.id, kept.version))
        return Outcome("")


def _words(error: PvcError) -> dict[str, Any]:
    return {"status": error.message or error.code, "error_code": error.code, "error_help": error.help}
