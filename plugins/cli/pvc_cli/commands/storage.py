"""`pvc storage`: the group, and what storage says of itself; the other commands are in storage_*.py."""

from __future__ import annotations

import click

from pvc_cli.app import App
from pvc_cli.formats import emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.views import storage as view

COMMANDS = {
    "benchmark": ("pvc_cli.commands.storage_benchmark:benchmark", "How fast a pool is, measured by fio."),
    "create-db-vg": ("pvc_cli.commands.storage_osd:create_db_vg", "A volume group for OSDs' databases."),
    "osd": ("pvc_cli.commands.storage_osd:osd", "OSDs: the disks that Ceph keeps data on."),
    "pool": ("pvc_cli.commands.storage_pool:pool", "Pools: where volumes are kept, and by which driver."),
    "volume": ("pvc_cli.commands.storage_volume:volume", "Volumes: what VMs have as disks."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def storage() -> None:
    """Pools, volumes and their snapshots, whichever driver keeps them."""


@storage.command()
@format_option("pretty", "json", "json-pretty")
@click.pass_obj
def status(app: App, format_: str) -> None:
    """How storage is, in its own words."""
    emit(app, format_, app.api.get("/storage/ceph/status").body, pretty=view.own_words)


@storage.command()
@format_option("pretty", "json", "json-pretty")
@click.pass_obj
def util(app: App, format_: str) -> None:
    """How full storage is, in its own words."""
    emit(app, format_, app.api.get("/storage/ceph/utilization").body, pretty=view.own_words)
