"""`pvc key`: who may use the API, and as what."""

from __future__ import annotations

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.complete import names
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import yes_option
from pvc_cli.views import key as view
from pvc_cli.waiting import finish

ROLES = ("admin", "operator", "read-only")


@click.group(cls=LazyGroup)
def key() -> None:
    """API keys: who may use the API, and as what."""


@key.command("list")
@format_option(*LIST)
@click.pass_obj
def list_keys(app: App, format_: str) -> None:
    """List the keys with their roles; the keys themselves cannot be shown."""
    found = app.api.get("/key").body
    emit(app, format_, found, pretty=lambda k: view.keys(app.out, k), raw=lambda k: [one["name"] for one in k])


@key.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What whoever has it may do.")
@click.option("-d", "--description", metavar="TEXT", help="Who it is for.")
@click.pass_obj
def add(app: App, name: str, role: str, description: str | None) -> None:
    """Make a key and print it. It cannot be shown again."""
    answer = app.api.post("/key", name=name, role=role, description=description)
    app.out.say(answer.body["key"])
    app.out.note(answer.message)


@key.command()
@click.argument("name", shell_complete=names("/key"))
@yes_option
@click.pass_obj
def remove(app: App, name: str, yes: bool) -> None:
    """Remove a key: whoever has it is nobody from now on."""
    app.confirm(f"Remove the key {name}?", yes=yes)
    finish(app, app.api.delete(path("key", name)))
