"""`pvc storage volume snapshot`."""

from __future__ import annotations

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.commands.storage_volume import pool_argument
from pvc_cli.complete import names
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import yes_option
from pvc_cli.views import storage as view
from pvc_cli.waiting import finish

SNAPSHOTS = "/storage/ceph/snapshot"

volume_argument = click.argument("volume", shell_complete=names("/storage/ceph/volume", pool="pool"))
name_argument = click.argument("name", shell_complete=names(SNAPSHOTS, "{snapshot}", pool="pool", volume="volume"))


@click.group(cls=LazyGroup)
def snapshot() -> None:
    """Snapshots of volumes."""


def where(pool: str, volume: str, name: str, *more: str) -> str:
    return path("storage", "ceph", "snapshot", pool, volume, name, *more)


@snapshot.command()
@pool_argument
@volume_argument
@click.argument("name")
@click.pass_obj
def add(app: App, pool: str, volume: str, name: str) -> None:
    """Take a snapshot of a volume."""
    finish(app, app.api.post(SNAPSHOTS, pool=pool, volume=volume, snapshot=name))


@snapshot.command()
@pool_argument
@volume_argument
@name_argument
@click.argument("new_name")
@click.pass_obj
def rename(app: App, pool: str, volume: str, name: str, new_name: str) -> None:
    """Rename a snapshot."""
    finish(app, app.api.put(where(pool, volume, name), new_name=new_name))


@snapshot.command()
@pool_argument
@volume_argument
@name_argument
@yes_option
@click.pass_obj
def remove(app: App, pool: str, volume: str, name: str, yes: bool) -> None:
    """Delete a snapshot."""
    app.confirm(f"Delete snapshot {pool}/{volume}@{name}?", yes=yes)
    finish(app, app.api.delete(where(pool, volume, name)))


@snapshot.command()
@pool_argument
@volume_argument
@name_argument
@yes_option
@click.pass_obj
def rollback(app: App, pool: str, volume: str, name: str, yes: bool) -> None:
    """Put a volume back to a snapshot; what was written since is lost."""
    app.confirm(f"Put volume {pool}/{volume} back to {name}? What was written since is lost.", yes=yes)
    finish(app, app.api.post(where(pool, volume, name, "rollback")))


@snapshot.command("list")
@click.argument("limit", required=False)
@click.option("-p", "--pool", help="Only snapshots in this pool.", shell_complete=names("/storage/ceph/pool"))
@click.option("-o", "--volume", help="Only snapshots of this volume.", shell_complete=names("/storage/ceph/volume"))
@format_option(*LIST)
@click.pass_obj
def list_snapshots(app: App, limit: str | None, pool: str | None, volume: str | None, format_: str) -> None:
    """List snapshots; LIMIT is a regular expression for their names. raw is POOL/VOLUME@SNAPSHOT."""
    found = app.api.get(SNAPSHOTS, limit=limit, pool=pool, volume=volume).body
    emit(
        app,
        format_,
        found,
        pretty=lambda d: view.snapshot_list(app.out, d),
        raw=lambda d: [f"{s['pool']}/{s['volume']}@{s['snapshot']}" for s in d],
    )
