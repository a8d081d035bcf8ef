"""`pvc vm tag`."""

from __future__ import annotations

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.commands.vm_common import domain_argument
from pvc_cli.complete import names
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.tables import table
from pvc_cli.views.vm import TAGS
from pvc_cli.waiting import finish


@click.group(cls=LazyGroup)
def tag() -> None:
    """Tags of a VM: words to find it by."""


@tag.command()
@domain_argument
@format_option(*LIST)
@click.pass_obj
def get(app: App, domain: str, format_: str) -> None:
    """Show a VM's tags."""
    found = app.api.get(path("vm", domain, "tags")).body
    emit(
        app,
        format_,
        found,
        pretty=lambda d: table(app.out, TAGS, sorted(d["tags"], key=lambda t: t["name"]), empty="The VM has no tags."),
        raw=lambda d: [t["name"] for t in d["tags"]],
    )


@tag.command()
@domain_argument
@click.argument("tag")
@click.option("-p", "--protected", is_flag=True, help="A tag that cannot be removed by mistake.")
@click.pass_obj
def add(app: App, domain: str, tag: str, protected: bool) -> None:
    """Give a VM a tag."""
    finish(app, app.api.post(path("vm", domain, "tags"), action="add", tag=tag, protected=protected))


@tag.command()
@domain_argument
@click.argument("tag", shell_complete=names("/vm/{domain}/tags", inside="tags"))
@click.pass_obj
def remove(app: App, domain: str, tag: str) -> None:
    """Take a tag from a VM."""
    finish(app, app.api.post(path("vm", domain, "tags"), action="remove", tag=tag))
