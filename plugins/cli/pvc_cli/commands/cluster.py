"""`pvc cluster`: status, maintenance mode, backup and tasks of the whole cluster."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TextIO

import click

from pvc_cli.api import Value
from pvc_cli.app import App
from pvc_cli.commands.audit import audit
from pvc_cli.commands.events import events
from pvc_cli.commands.fault import fault
from pvc_cli.commands.task import show_or_wait
from pvc_cli.errors import ExitCode
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import wait_task_option, yes_option
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


@cluster.command()
@format_option("pretty", "json", "json-pretty")
@click.pass_context
def check(ctx: click.Context, format_: str) -> None:
    """Look at everything that others trip over: quorum, clocks, MTU, names, certificates, disks, versions, pvc.yaml.

    Ends with 1 when a line needs somebody.
    """
    app: App = ctx.obj
    found = app.api.get("/cluster/check").body
    emit(app, format_, found, pretty=lambda c: view.check(app.out, c))
    ctx.exit(ExitCode.DONE if found["ok"] else ExitCode.NO)


@cluster.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("-f", "--file", "option", type=click.Path(dir_okay=False, path_type=Path), help="The same as FILE.")
@click.option("--passphrase-file", type=click.File(), help="Put secrets in too, sealed by what stands there (- asks).")
@click.pass_obj
def backup(app: App, file: Path | None, option: Path | None, passphrase_file: TextIO | None) -> None:
    """Write all that people asked for (VMs, pools, volumes' records, keys' hashes, settings) to FILE, or print it.

    Who runs what is not in it, nor the bytes of volumes.
    """
    passphrase = read_passphrase(passphrase_file)
    found = app.api.post("/backup", form={"passphrase": passphrase}) if passphrase else app.api.get("/backup")
    target = file or option
    for part in found.body["left_out"]:
        app.out.note(f"Left out: {part}.")
    text = json.dumps(found.body, indent=1) + "\n"
    if target is None:
        app.out.say(text, newline=False)
        return
    write_whole(target, text)
    counts = ", ".join(f"{len(records)} {name}" for name, records in found.body["records"].items())
    app.out.say(f"Wrote {target}: {counts}.")


@cluster.command()
@click.argument("file", required=False, type=click.File())
@click.option("-f", "--filename", "option", type=click.File(), help="The same as FILE.")
@click.option("--passphrase-file", type=click.File(), help="Where the passphrase of its secrets stands (- asks).")
@click.option("--without", multiple=True, metavar="NODE", help="You vouch that NODE is off for good.")
@yes_option
@click.pass_obj
def restore(
    app: App,
    file: TextIO | None,
    option: TextIO | None,
    passphrase_file: TextIO | None,
    without: tuple[str, ...],
    yes: bool,
) -> None:
    """Make what is wanted be what it was when the backup FILE was made.

    Guests that run and are known keep running. Refused while a node is silent or a guest unaccounted for.
    """
    source = file or option
    if source is None:
        raise click.UsageError("Which backup? Give its FILE.")
    content = source.read()
    app.confirm("Replace every VM's record by the backup's?", yes=yes)
    form: dict[str, Value] = {
        "cluster_data": content,
        "passphrase": read_passphrase(passphrase_file) or None,
        "without": list(without),
    }
    finish(app, app.api.post("/restore", form=form, yes_i_really_mean_it="yes-i-really-mean-it"))


@cluster.command()
@click.option("-o", "--overwrite", is_flag=True, help="Forget every VM, pool and volume; their bytes stay.")
@click.option("--without", multiple=True, metavar="NODE", help="You vouch that NODE is off for good.")
@yes_option
@click.pass_obj
def init(app: App, overwrite: bool, without: tuple[str, ...], yes: bool) -> None:
    """Begin the cluster anew. Without --overwrite a cluster that is there stays as it is."""
    if overwrite:
        app.confirm("Forget every VM, pool and volume of this cluster?", yes=yes)
    form: dict[str, Value] = {"overwrite": overwrite, "without": list(without)}
    finish(app, app.api.post("/initialize", form=form, yes_i_really_mean_it="yes-i-really-mean-it"))


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


cluster.add_command(fault)
cluster.add_command(audit)
cluster.add_command(events)


def read_passphrase(source: TextIO | None) -> str:
    """Never on a command line, where every user of the machine could read it. "" when none is wanted."""
    if source is None:
        return ""
    if source.name == "<stdin>" and source.isatty():
        return str(click.prompt("Passphrase", hide_input=True, err=True))
    return source.read().strip()


def write_whole(target: Path, text: str) -> None:
    """All or nothing, for its owner only: it has hashes of API keys. Raises OSError."""
    new = target.with_name(f"{target.name}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    os.replace(new, target)
