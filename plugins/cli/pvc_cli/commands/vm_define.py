"""`pvc vm define|meta|modify|rename|undefine|remove`: a VM's definition and what is known about it."""

from __future__ import annotations

from typing import BinaryIO, TextIO

import click

from pvc_cli import example
from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.commands.vm_common import METHODS, SELECTORS, domain_argument
from pvc_cli.complete import names
from pvc_cli.editing import Definition, difference, edited, kept, read_definition, write_definition
from pvc_cli.errors import ApiError, Changed, CliError
from pvc_cli.options import Number, yes_option
from pvc_cli.waiting import finish

priority_option = click.option(
    "-P", "--priority", type=int, help="After a loss the greatest starts first, from -1000 to 1000 [0]."
)


@click.command()
@click.option(
    "-t", "--target", "node", help="The node to run on first [chosen by the cluster].",
    shell_complete=names("/node"),
)  # fmt: skip
@click.option("-l", "--limit", help="Nodes it may run on, separated by commas [all].")
@click.option(
    "-s", "--node-selector", "selector", type=click.Choice(SELECTORS), default="none", show_default=True,
    help="How a node is chosen; none is the cluster's way.",
)  # fmt: skip
@click.option(
    "-a/-A", "--autostart/--no-autostart", "autostart", default=False, help="Start it when its node is ready."
)
@priority_option
@click.option(
    "-m", "--method", type=click.Choice(METHODS), default="none", show_default=True,
    help="How it moves; none is live, else by shutting it down.",
)  # fmt: skip
@click.option(
    "-d", "--max-downtime", type=Number(min=0), default=300, show_default=True,
    help="Longest pause of a live migration, in milliseconds.",
)  # fmt: skip
@click.option("-g", "--tag", "tags", multiple=True, help="A tag; may be repeated.")
@click.option("-G", "--protected-tag", "protected", multiple=True, help="A tag that cannot be removed by mistake.")
@click.option(
    "--example", is_flag=True, is_eager=True, expose_value=False, callback=example.show,
    help="Print a definition to begin with, and what comes next; end.",
)  # fmt: skip
@click.argument("vmconfig", type=click.File("rb"))
@click.pass_obj
def define(
    app: App,
    node: str | None,
    limit: str | None,
    selector: str,
    autostart: bool,
    priority: int | None,
    method: str,
    max_downtime: int,
    tags: tuple[str, ...],
    protected: tuple[str, ...],
    vmconfig: BinaryIO,
) -> None:
    """Define a new VM from VMCONFIG, a file with its libvirt XML (- is standard input). It is not started."""
    answer = app.api.post(
        "/vm",
        form={"xml": text_of(vmconfig)},
        node=node,
        limit=limit,
        selector=selector,
        autostart=autostart,
        priority=priority,
        migration_method=method,
        migration_max_downtime=max_downtime,
        user_tags=tags,
        protected_tags=protected,
    )
    finish(app, answer)


@click.command()
@click.option("-l", "--limit", help="Nodes it may run on, separated by commas; empty for all.")
@click.option("-s", "--node-selector", "selector", type=click.Choice(SELECTORS), help="How a node is chosen.")
@click.option("-a/-A", "--autostart/--no-autostart", "autostart", default=None, help="Start it when its node is ready.")
@priority_option
@click.option("-m", "--method", type=click.Choice(METHODS), help="How it moves.")
@click.option("-d", "--max-downtime", type=Number(min=0), help="Longest pause of a migration, in milliseconds.")
@click.option("-p", "--profile", help="The profile it was made from.")
@click.option("--user-data", type=click.File(), help="A file for its first start (cloud-init), - for standard input.")
@domain_argument
@click.pass_obj
def meta(
    app: App,
    limit: str | None,
    selector: str | None,
    autostart: bool | None,
    priority: int | None,
    method: str | None,
    max_downtime: int | None,
    profile: str | None,
    user_data: TextIO | None,
    domain: str,
) -> None:
    """Change where and how a VM runs. What is not given stays as it is."""
    if all(value is None for value in (limit, selector, autostart, priority, method, max_downtime, profile, user_data)):
        raise click.UsageError("Nothing to change: give at least one option.")
    answer = app.api.post(
        path("vm", domain, "meta"),
        limit=limit,
        selector=selector,
        autostart=autostart,
        priority=priority,
        migration_method=method,
        migration_max_downtime=max_downtime,
        profile=profile,
        user_data=user_data.read() if user_data else None,
    )
    finish(app, answer)


@click.command()
@click.option("-e", "--editor", is_flag=True, help="Change it in your editor (EDITOR).")
@click.option("-r", "--restart", is_flag=True, help="Restart the VM so that the change takes effect.")
@click.option("-d", "--confirm-diff", is_flag=True, help="Do not ask whether the difference is right.")
@click.option("-c", "--confirm-restart", is_flag=True, help="Do not ask whether to restart.")
@click.option("-y", "--yes", is_flag=True, help="Ask neither.")
@domain_argument
@click.argument("cfgfile", type=click.File("rb"), required=False)
@click.pass_obj
def modify(
    app: App,
    editor: bool,
    restart: bool,
    confirm_diff: bool,
    confirm_restart: bool,
    yes: bool,
    domain: str,
    cfgfile: BinaryIO | None,
) -> None:
    """Change a VM's definition in an editor, or replace it with CFGFILE (- is standard input).

    The difference is shown first. If somebody else changed the VM meanwhile, nothing is written.
    """
    if editor == (cfgfile is not None):
        raise click.UsageError("Give either --editor or CFGFILE.")
    old = read_definition(app, domain)
    new = edited(app, old.xml) if cfgfile is None else text_of(cfgfile)
    if new == old.xml:
        app.out.say(f"The definition of {domain} is unchanged; nothing was written.")
        return
    app.out.say(difference(old.xml, new))
    try:
        app.confirm(f"Write this change of VM {domain}?", yes=yes or confirm_diff)
        if restart:
            app.confirm(f"Restart VM {domain}?", yes=yes or confirm_restart)
        replace(app, domain, old, new, restart=restart)
    except (Changed, ApiError, CliError):
        if editor:
            app.out.note(f"Your text is kept in {kept(new)}")
        raise


def replace(app: App, domain: str, old: Definition, xml: str, *, restart: bool) -> None:
    finish(app, write_definition(app, domain, old, xml, restart=restart))


@click.command()
@domain_argument
@click.argument("new_name")
@yes_option
@click.pass_obj
def rename(app: App, domain: str, new_name: str, yes: bool) -> None:
    """Rename a VM that is off, and its volumes."""
    app.confirm(f"Rename VM {domain} to {new_name}?", yes=yes)
    finish(app, app.api.post(path("vm", domain, "rename"), new_name=new_name))


@click.command()
@domain_argument
@yes_option
@click.pass_obj
def undefine(app: App, domain: str, yes: bool) -> None:
    """Stop and forget a VM; its volumes stay."""
    app.confirm(f"Forget VM {domain}?", yes=yes)
    finish(app, app.api.delete(path("vm", domain), delete_disks=False))


@click.command()
@domain_argument
@yes_option
@click.pass_obj
def remove(app: App, domain: str, yes: bool) -> None:
    """Stop and forget a VM and delete its volumes."""
    app.confirm(f"Remove VM {domain} and delete its volumes?", yes=yes)
    finish(app, app.api.delete(path("vm", domain), delete_disks=True))


def text_of(file: BinaryIO) -> str:
    try:
        return file.read().decode()
    except UnicodeDecodeError as error:
        raise CliError(f"{file.name} is no UTF-8 text: {error.reason} at byte {error.start}") from error
