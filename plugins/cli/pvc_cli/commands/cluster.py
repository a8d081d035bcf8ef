"""`pvc cluster`: status, maintenance mode and tasks of the whole cluster."""

from __future__ import annotations

import click

from pvc_cli.app import App
from pvc_cli.commands.task import show_or_wait
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import wait_task_option
from pvc_cli.views import cluster as view
from pvc_cli.waiting import finish


@click.group(cls=LazyGroup)
def cluster() -> None:
    """The cluster as a whole."""


@cluster.command()
@format_option("pretty", "short", "json", "json-pretty")
@click.pass_obj
def status(app: App, format_: str) -> None:
    """Show the cluster's health, members and resources."""
    found = app.api.get("/status").body
    emit(app, format_, found, pretty=lambda s: view.pretty(app.out, s), short=lambda s: view.short(app.out, s))


@cluster.group(cls=LazyGroup)
def maintenance() -> None:
    """Maintenance mode: nothing is fenced and health is not judged while it is on."""


@maintenance.command()
@click.option("--for", "for_", metavar="TIME", help="Let it end by itself after TIME, like 30m, 2h or 1d.")
@click.option("--reason", metavar="TEXT", help="Why, for whoever wonders.")
@click.pass_obj
def on(app: App, for_: str | None, reason: str | None) -> None:
    """Turn maintenance mode on."""
    finish(app, app.api.post("/status", state="true", for_=for_, reason=reason))


@maintenance.command()
@click.pass_obj
def off(app: App) -> None:
    """Turn maintenance mode off."""
    finish(app, app.api.post("/status", state="false"))


maintenance.add_command(on, "disarm")
maintenance.add_command(off, "arm")
cluster.add_command(on, "disarm")
cluster.add_command(off, "arm")


@cluster.command()
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would be moved, and why.")
@wait_task_option
@format_option("pretty", "json", "json-pretty")
@click.pass_obj
def rebalance(app: App, dry_run: bool, wait: bool, format_: str) -> None:
    """Move running VMs so that memory is given out evenly and affinity rules are kept."""
    if dry_run:
        plan = app.api.get("/cluster/rebalance").body
        emit(app, format_, plan, pretty=lambda moves: view.plan(app.out, moves))
    else:
        finish(app, app.api.post("/cluster/rebalance"), wait=wait)


@cluster.command()
@click.argument("task_id", required=False)
@wait_task_option
@format_option(*LIST)
@click.pass_obj
def task(app: App, task_id: str | None, wait: bool, format_: str) -> None:
    """Follow the task TASK_ID to its end (--no-wait: show it once); without TASK_ID list the tasks."""
    show_or_wait(app, task_id, wait, format_)
