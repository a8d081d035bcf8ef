"""`pvc cluster fault`: what is wrong with the cluster, acknowledged and deleted."""

from __future__ import annotations

import re

import click

from pvc_cli.app import App
from pvc_cli.complete import names
from pvc_cli.formats import emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import yes_option
from pvc_cli.views import cluster as view
from pvc_cli.waiting import finish


@click.group(cls=LazyGroup)
def fault() -> None:
    """Faults: what is wrong, since when, and what it costs the cluster's health."""


@fault.command("list")
@click.argument("limit", required=False)
@format_option("short", "long", "json", "json-pretty", default="short")
@click.pass_obj
def list_(app: App, limit: str | None, format_: str) -> None:
    """Show the faults, those last reported at the end; LIMIT is a regular expression for id and message."""
    found = app.api.get("/faults", sort_key="last_reported").body
    if limit:
        found = [one for one in found if any(_matches(limit, one[key]) for key in ("id", "message"))]
    emit(app, format_, found, short=lambda f: view.faults(app.out, f), long=lambda f: view.faults_long(app.out, f))


@fault.command()
@click.argument("fault_ids", metavar="FAULT_ID...", nargs=-1, required=True, shell_complete=names("/faults", "{id}"))
@click.pass_obj
def ack(app: App, fault_ids: tuple[str, ...]) -> None:
    """Acknowledge faults: as long as they last they lower the health no more."""
    for id in fault_ids:
        finish(app, app.api.put(f"/faults/{id}"))


@fault.command("ack-all")
@yes_option
@click.pass_obj
def ack_all(app: App, yes: bool) -> None:
    """Acknowledge all faults."""
    app.confirm("Acknowledge all faults?", yes=yes)
    finish(app, app.api.put("/faults"))


@fault.command()
@click.argument("fault_ids", metavar="FAULT_ID...", nargs=-1, required=True, shell_complete=names("/faults", "{id}"))
@click.pass_obj
def delete(app: App, fault_ids: tuple[str, ...]) -> None:
    """Delete faults; one that is still so comes back."""
    for id in fault_ids:
        finish(app, app.api.delete(f"/faults/{id}"))


@fault.command("delete-all")
@yes_option
@click.pass_obj
def delete_all(app: App, yes: bool) -> None:
    """Delete all faults; those that are still so come back."""
    app.confirm("Delete all faults?", yes=yes)
    finish(app, app.api.delete("/faults"))


def _matches(limit: str, text: str) -> bool:
    try:
        return re.search(limit, text) is not None
    except re.error as error:
        raise click.UsageError(f"LIMIT is no regular expression: {error}") from None
