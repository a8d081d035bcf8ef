"""Tasks as text."""

from __future__ import annotations

from typing import Any

from pvc_cli.output import Output
from pvc_cli.tables import Column, facts, state, table

COLUMNS = (
    Column("Id", lambda t: t["id"]),
    Column("Name", lambda t: t["name"]),
    Column("Queue", lambda t: t["type"], state=True),
    Column("Node", lambda t: t["worker"]),
    Column("Arguments", lambda t: t["kwargs"]),
    Column("Status", lambda t: t.get("status", "")),
)


def flat(tasks: dict[str, dict[str, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """One list of the jobs in {"active": {"<node>": [job]}, "reserved": ..., "scheduled": ...}."""
    return [
        {**job, "type": queue, "worker": node}
        for queue in ("active", "reserved", "scheduled")
        for node, jobs in sorted((tasks.get(queue) or {}).items())
        for job in jobs
    ]


def task_list(out: Output, tasks: list[dict[str, Any]]) -> str:
    return table(out, COLUMNS, tasks, empty="No task is waiting or running.")


def task_info(task_id: str, task: dict[str, Any]) -> str:
    return facts(
        [
            ("Task", task_id),
            ("State", state(task["state"])),
            ("Progress", f"{task.get('current', 0)} of {task.get('total', 0)}"),
            ("Status", task.get("status") or "-"),
        ]
    )
