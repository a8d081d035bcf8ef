"""Tasks: what 202 answers lead to."""

from __future__ import annotations

from pvc_api_falcon.route import Answer, Call, Route, data
from pvc_api_falcon.wire.task import JobsBody, TaskBody, jobs_body, task_body


def list_tasks(call: Call) -> Answer:
    return data(jobs_body(call.services.tasks.list(), call.services.cluster.primary))


def show_task(call: Call) -> Answer:
    return data(task_body(call.services.tasks.get(call.names["task"])))


ROUTES = (
    Route(method="GET", path="/tasks", does=list_tasks, gives=JobsBody, help="Tasks that wait or run, by node."),
    Route(
        method="GET", path="/tasks/{task}", does=show_task, gives=TaskBody,
        help="How far one task is; ended ones are kept for a day.",
    ),
)  # fmt: skip
