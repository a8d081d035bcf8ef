"""`pvc vm volume`: a VM's disks."""

from __future__ import annotations

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.commands.vm_common import domain_argument
from pvc_cli.complete import names
from pvc_cli.devices import change_device
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import live_option, restart_option, yes_option
from pvc_cli.tables import table
from pvc_cli.views.vm import DISKS


@click.group(cls=LazyGroup)
def volume() -> None:
    """Disks of a VM. VOLUME is POOL/VOLUME, or a path with --type file."""


@volume.command()
@domain_argument
@format_option(*LIST)
@click.pass_obj
def get(app: App, domain: str, format_: str) -> None:
    """Show a VM's disks."""
    vm = app.api.one(path("vm", domain), f'VM "{domain}"').body
    emit(
        app,
        format_,
        {key: vm[key] for key in ("name", "disks")},
        pretty=lambda v: table(app.out, DISKS, v["disks"], empty="The VM has no disk."),
        raw=lambda v: [disk["name"] for disk in v["disks"]],
    )


@volume.command()
@domain_argument
@click.argument("volume", shell_complete=names("/storage/ceph/volume", "{pool}/{name}"))
@click.option("-d", "--disk-id", help="Its name in the definition, like sdb [the first free one].")
@click.option(
    "-b", "--bus", type=click.Choice(("scsi", "ide", "usb", "virtio")), default="scsi", show_default=True,
    help="How the guest sees it.",
)  # fmt: skip
@click.option(
    "-t", "--type", "kind", type=click.Choice(("rbd", "file")), default="rbd", show_default=True,
    help="rbd is a volume of any pool, whatever keeps it; file is a file on the node.",
)  # fmt: skip
@live_option
@restart_option
@yes_option
@click.pass_obj
def add(
    app: App,
    domain: str,
    volume: str,
    disk_id: str | None,
    bus: str,
    kind: str,
    live: bool,
    restart: bool | None,
    yes: bool,
) -> None:
    """Give a VM a disk on VOLUME, like vms/web1_data, which must exist (`pvc storage volume add` makes one)."""
    if kind == "file" and not volume.startswith("/"):
        raise click.UsageError(f'"{volume}" is no absolute path of a file.')
    if kind == "rbd" and volume.startswith("/"):
        raise click.UsageError(f'"{volume}" is a file: give --type file, or a volume as POOL/VOLUME.')
    form = {"volume": volume, "bus": bus, "disk_id": disk_id}
    change_device(app, domain, "volume", form, how="attach", live=live, restart=restart, yes=yes)


@volume.command()
@domain_argument
@click.argument("volume", shell_complete=names("/storage/ceph/volume", "{pool}/{name}"))
@live_option
@restart_option
@yes_option
@click.pass_obj
def remove(app: App, domain: str, volume: str, live: bool, restart: bool | None, yes: bool) -> None:
    """Take the disk on VOLUME, like vms/web1_data, from a VM. The volume itself stays."""
    change_device(app, domain, "volume", {"volume": volume}, how="detach", live=live, restart=restart, yes=yes)
