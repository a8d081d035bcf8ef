"""Tasks on the wire. Their arguments are shown without what an action was given: that may be a secret."""

from __future__ import annotations

from typing import Any

from pvc_core.model.task import Task, TaskState

_SHOWN_MAX = 200


def task_body(task: Task) -> dict[str, Any]:
    body = {"state": task.state, "current": task.current, "total": task.total, "status": task.status}
    if task.state is TaskState.SUCCESS:
        body["result"] = task.result
    if task.state is TaskState.FAILURE:
        body |= {"code": task.error_code, "help": task.error_help}
    return body


def jobs_body(tasks: list[Task], primary: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Those that have not ended, by node: running ones are active, waiting ones reserved."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {"active": {}, "reserved": {}, "scheduled": {}}
    for task in tasks:
        if not task.ended:
            queue = "active" if task.state is TaskState.RUNNING else "reserved"
            found[queue].setdefault(task.node or primary, []).append(_job(task))
    return found


def _job(task: Task) -> dict[str, Any]:
    shown = {name: str(value)[:_SHOWN_MAX] for name, value in task.args.items() if name != "args"}
    return {"id": task.id, "name": task.kind, "args": "[]", "kwargs": str(shown), "status": task.status}
