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
from pvc_core.reconcile.engine import EVERY
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

PROGRESS_S = 0.5
"""Progress is written no more often: it is for a person's eyes."""
KEPT_S = 86_400.0
GIVE_UP_S = 3600.0
"""A task that could not be done for so long (Retry each time, as this daemon counts) has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A notification: hook, key of its object, arguments."""

    hook: str
    key: str
    args: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A task's good end: its sentence, its result, what is written in the same commit, what is told after it."""

    status: str
    result: dict[str, object] = field(default_factory=dict)
    writes: tuple[Write, ...] = ()
    told: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a kind is called with."""

    ground: Ground
    task: Task
    progress: Callable[[int, int, str], None]
    waited_s: float = 0.0
    """Since this daemon first saw the task; no two machines' clocks are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskKind:
    """`do` is idempotent: after a crash it is called again from the beginning. `undo` says what to write when it
    failed for good, after removing what was half-made. `patient`: waiting an hour is no failure.
    """

    do: Callable[[Job], Done]
    undo: Callable[[Job, PvcError], tuple[Write, ...]] = lambda job, error: ()
    patient: bool = False


@dataclass(frozen=True, slots=True)
class TaskReconciler:
    ground: Ground
    kinds: Mapping[str, TaskKind]
    kind: str = "task"
    _since_s: dict[str, float] = field(default_factory=dict)
    """When this daemon first carried out a task that has not ended."""

    def keys(self, view: ClusterView) -> Iterable[str]:
        return view.tasks.keys()

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        if found and found[0] is layout.LEADER:
            return EVERY  # the primary carries on what is nobody's own
        return found[1] if found and found[0] is layout.TASKS else None

    def step(self, key: str) -> Outcome:
        kept = self.ground.view.tasks.get(key)
        if kept is None or not self.ground.view.fresh or not self._mine(kept.value):
            return Outcome("")
        if kept.value.ended:
            self._since_s.pop(key, None)
            return self._sweep(kept)
        now = self.ground.repository.find(layout.TASKS, key)
        if now is None or now.value.ended:  # its end was written, and the answer lost
            self._since_s.pop(key, None)
            self.ground.keeper.settle([layout.TASKS.key(key)], inline=self.ground.inline)
            return Outcome("", 1.0)
        self._since_s.setdefault(key, self.ground.clock.boottime_s())
        found = self.kinds.get(now.value.kind, TaskKind(do=_unknown))
        return self._carry_out(self._begin(now), found)

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
            self._try_save(key, status=outcome.sentence)

    def _mine(self, task: Task) -> bool:
        return task.node == self.ground.node or (not task.node and self.ground.is_primary())

    def _begin(self, kept: Kept[Task]) -> Task:
        if kept.value.state is TaskState.RUNNING:
            return kept.value
        running = replace(kept.value, state=TaskState.RUNNING)
        self.ground.commit(Set(layout.TASKS, running.id, running, kept.version), *self._term(running))
        return running

    def _carry_out(self, task: Task, kind: TaskKind) -> Outcome:
        waited_s = self.ground.clock.boottime_s() - self._since_s[task.id]
        job = Job(ground=self.ground, task=task, progress=self._progress(task), waited_s=waited_s)
        try:
            done = kind.do(job)
        except (Conflict, StoreUnavailable):
            raise
        except Retry as error:
            if kind.patient or waited_s <= GIVE_UP_S:
                raise
            return self._fail(job, kind, Permanent(f"given up after an hour: {error.message}", help=error.help))
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
        outcome = self._end(task.id, ended, done.writes)
        for told in done.told:
            self.ground.hooks.notify(told.hook, key=told.key, **told.args)
        return outcome

    def _fail(self, job: Job, kind: TaskKind, error: PvcError) -> Outcome:
        """A failure that cannot be undone is still told: a task that never ends helps nobody."""
        try:
            writes = kind.undo(job, error)
        except (Retry, Conflict, StoreUnavailable):
            raise
        except PvcError as left:
            self.ground.log.warning(f"could not be undone: {left}", object=f"task/{job.task.id}")
            writes = ()
        ended = replace(job.task, state=TaskState.FAILURE, ended_at_s=self.ground.clock.wall_s(), **_words(error))
        return self._end(job.task.id, ended, writes)

    def _end(self, id: str, task: Task, writes: tuple[Write, ...]) -> Outcome:
        """Its end and its effect on records are one commit; progress written meanwhile only moved its version."""
        kept = self.ground.repository.get(layout.TASKS, id)
        self.ground.commit(Set(layout.TASKS, id, task, kept.version), *writes, *self._term(task))
        self._since_s.pop(id, None)
        return Outcome(f"{task.state}: {task.status}")

    def _progress(self, task: Task) -> Callable[[int, int, str], None]:
        last_s = [0.0]

        def progress(current: int, total: int, sentence: str) -> None:
            now = self.ground.clock.boottime_s()
            if now - last_s[0] >= PROGRESS_S:
                last_s[0] = now
                self._try_save(task.id, current=current, total=total, status=sentence)

        return progress

    def _try_save(self, id: str, **changes: Any) -> None:
        try:
            kept = self.ground.repository.get(layout.TASKS, id)
            if not kept.value.ended:
                self.ground.repository.set(layout.TASKS, id, replace(kept.value, **changes), if_version=kept.version)
        except (Conflict, NotFound, StoreUnavailable):
            pass  # only a progress bar is the poorer

    def _sweep(self, kept: Kept[Task]) -> Outcome:
        """Forget it a day after its end."""
        left_s = kept.value.ended_at_s + KEPT_S - self.ground.clock.wall_s()
        if left_s > 0:
            return Outcome("", min(left_s, 3600.0))
        self.ground.commit(Drop(layout.TASKS, kept.value.id, kept.version), *self._term(kept.value))
        return Outcome("")

    def _term(self, task: Task) -> tuple[Write, ...]:
        """What only the primary may do carries its term: a primary that slept writes nothing (design rule 8)."""
        return () if task.node else (self.ground.lead(),)


def _unknown(job: Job) -> Done:
    raise Permanent(
        f"node {job.ground.node} does not know tasks of kind {job.task.kind!r}", help="upgrade PVC on that node"
    )


def _words(error: PvcError) -> dict[str, Any]:
    return {"status": error.message or error.code, "error_code": error.code, "error_help": error.help}
