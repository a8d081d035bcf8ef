"""`pvc task`: long work of the cluster. `pvc cluster task` is the same under PVC 1.0's name."""

from __future__ import annotations

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.views import task as view
from pvc_cli.waiting import wait_for_task


@click.group(cls=LazyGroup)
def task() -> None:
    """Long work the cluster is doing or has done."""


@task.command("list")
@format_option(*LIST)
@click.pass_obj
def list_tasks(app: App, format_: str) -> None:
    """List the tasks that run or wait to run."""
    show_or_wait(app, None, False, format_)


@task.command()
@click.argument("task_id")
@format_option("pretty", "json", "json-pretty")
@click.pass_obj
def info(app: App, task_id: str, format_: str) -> None:
    """Show how far a task is."""
    show_or_wait(app, task_id, False, format_)


@task.command()
@click.argument("task_id")
@click.pass_obj
def wait(app: App, task_id: str) -> None:
    """Wait for a task to end; the exit code tells whether it succeeded."""
    app.out.say(wait_for_task(app, task_id))


def show_or_wait(app: App, task_id: str | None, wait: bool, format_: str) -> None:
    if task_id is None:
        tasks = view.flat(app.api.get("/tasks").body)
        emit(app, format_, tasks, pretty=lambda d: view.task_list(app.out, d), raw=lambda d: [t["id"] for t in d])
    elif wait and format_ == "pretty":
        app.out.say(wait_for_task(app, task_id))
    else:
        found = app.api.get(path("tasks", task_id)).body
        emit(app, format_, found, pretty=lambda d: view.task_info(task_id, d), raw=lambda d: [d["state"]])
