"""Tasks on the wire. Their arguments are shown without what an action was given: that may be a secret."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from pvc_core.model.task import Task, TaskState

_SHOWN_MAX = 200


class TaskBody(TypedDict):
    """How far a task is."""

    state: TaskState
    current: Annotated[int, Meta(description="steps done")]
    total: Annotated[int, Meta(description="steps there are")]
    status: Annotated[str, Meta(description="one sentence")]
    result: NotRequired[Annotated[dict[str, Any], Meta(description="of a task that succeeded; its kind's own")]]
    code: NotRequired[Annotated[str, Meta(description="of a task that failed, as in errors")]]
    help: NotRequired[str]
    stale_s: NotRequired[int]


class JobBody(TypedDict):
    id: str
    name: str
    args: str
    kwargs: Annotated[str, Meta(description="its arguments, as text")]
    status: str


class JobsBody(TypedDict):
    """Tasks that have not ended, by the node that does them."""

    active: dict[str, list[JobBody]]
    reserved: dict[str, list[JobBody]]
    scheduled: dict[str, list[JobBody]]


def task_body(task: Task) -> TaskBody:
    body: TaskBody = {"state": task.state, "current": task.current, "total": task.total, "status": task.status}
    if task.state is TaskState.SUCCESS:
        body["result"] = task.result
    if task.state is TaskState.FAILURE:
        body["code"], body["help"] = task.error_code, task.error_help
    return body


def jobs_body(tasks: list[Task], primary: str) -> JobsBody:
    """Those that have not ended, by node: running ones are active, waiting ones reserved."""
    found: JobsBody = {"active": {}, "reserved": {}, "scheduled": {}}
    for task in tasks:
        if not task.ended:
            queue = found["active"] if task.state is TaskState.RUNNING else found["reserved"]
            queue.setdefault(task.node or primary, []).append(_job(task))
    return found


def _job(task: Task) -> JobBody:
    shown = {name: str(value)[:_SHOWN_MAX] for name, value in task.args.items() if name != "args"}
    return {"id": task.id, "name": task.kind, "args": "[]", "kwargs": str(shown), "status": task.status}
