"""`pvc storage volume`; its snapshots are in storage_snapshot.py."""

from __future__ import annotations

from pathlib import Path

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.complete import names
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import yes_option
from pvc_cli.views import storage as view
from pvc_cli.waiting import finish

VOLUMES = "/storage/ceph/volume"
IMAGE_FORMATS = ("raw", "vmdk", "qcow2", "qed", "vdi", "vpc")

pool_argument = click.argument("pool", shell_complete=names("/storage/ceph/pool"))
name_argument = click.argument("name", shell_complete=names(VOLUMES))
force_option = click.option("-f", "--force", is_flag=True, help="Even if the pool would become too full.")


@click.group(cls=LazyGroup, lazy={"snapshot": ("pvc_cli.commands.storage_snapshot:snapshot", "Snapshots of volumes.")})
def volume() -> None:
    """Volumes: what VMs have as disks. SIZE is like 20G, in powers of 1024."""


def where(pool: str, name: str, *more: str) -> str:
    return path("storage", "ceph", "volume", pool, name, *more)


@volume.command()
@pool_argument
@click.argument("name")
@click.argument("size")
@force_option
@click.pass_obj
def add(app: App, pool: str, name: str, size: str, force: bool) -> None:
    """Make an empty volume."""
    finish(app, app.api.post(VOLUMES, pool=pool, volume=name, size=size, force=force or None))


@volume.command()
@pool_argument
@name_argument
@click.argument("image_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-f", "--format", "image_format", type=click.Choice(IMAGE_FORMATS), default="raw", show_default=True,
    help="What IMAGE_FILE is.",
)  # fmt: skip
@click.pass_obj
def upload(app: App, pool: str, name: str, image_file: Path, image_format: str) -> None:
    """Fill a volume with a disk image from this machine."""
    from pvc_cli.uploading import upload_file

    finish(app, upload_file(app, where(pool, name, "upload"), image_file, image_format=image_format))


@volume.command()
@pool_argument
@name_argument
@yes_option
@click.pass_obj
def remove(app: App, pool: str, name: str, yes: bool) -> None:
    """Delete a volume and what is on it."""
    app.confirm(f"Delete volume {pool}/{name} and what is on it?", yes=yes)
    finish(app, app.api.delete(where(pool, name)))


@volume.command()
@pool_argument
@name_argument
@click.argument("size")
@force_option
@yes_option
@click.pass_obj
def resize(app: App, pool: str, name: str, size: str, force: bool, yes: bool) -> None:
    """Make a volume SIZE large."""
    app.confirm(f"Resize volume {pool}/{name} to {size}?", yes=yes)
    finish(app, app.api.put(where(pool, name), new_size=size, force=force or None))


@volume.command()
@pool_argument
@name_argument
@click.argument("new_name")
@yes_option
@click.pass_obj
def rename(app: App, pool: str, name: str, new_name: str, yes: bool) -> None:
    """Rename a volume that no running VM uses."""
    app.confirm(f"Rename volume {pool}/{name} to {new_name}?", yes=yes)
    finish(app, app.api.put(where(pool, name), new_name=new_name))


@volume.command()
@pool_argument
@name_argument
@click.argument("new_name")
@force_option
@click.pass_obj
def clone(app: App, pool: str, name: str, new_name: str, force: bool) -> None:
    """Copy a volume to a new one in the same pool."""
    finish(app, app.api.post(where(pool, name, "clone"), new_volume=new_name, force=force or None))


@volume.command("list")
@click.argument("limit", required=False)
@click.option("-p", "--pool", help="Only volumes of this pool.", shell_complete=names("/storage/ceph/pool"))
@format_option(*LIST)
@click.pass_obj
def list_volumes(app: App, limit: str | None, pool: str | None, format_: str) -> None:
    """List volumes; LIMIT is a regular expression for their names. raw is POOL/VOLUME."""
    found = app.api.get(VOLUMES, limit=limit, pool=pool).body
    emit(
        app,
        format_,
        found,
        pretty=lambda d: view.volume_list(app.out, d),
        raw=lambda d: [f"{v['pool']}/{v['name']}" for v in d],
    )
