"""`pvc storage`: the group; its commands are in storage_*.py."""

from __future__ import annotations

import click

from pvc_cli.lazy import LazyGroup

COMMANDS = {
    "pool": ("pvc_cli.commands.storage_pool:pool", "Pools: where volumes are kept, and by which driver."),
    "volume": ("pvc_cli.commands.storage_volume:volume", "Volumes: what VMs have as disks."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def storage() -> None:
    """Pools, volumes and their snapshots, whichever driver keeps them."""
