"""`pvc storage volume`; its snapshots are in storage_snapshot.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.complete import names
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import Number, wait_task_option, yes_option
from pvc_cli.views import storage as view
from pvc_cli.waiting import finish

VOLUMES = "/storage/ceph/volume"
IMAGE_FORMATS = ("raw", "vmdk", "qcow2", "qed", "vdi", "vpc")

pool_argument = click.argument("pool", shell_complete=names("/storage/ceph/pool"))
name_argument = click.argument("name", shell_complete=names(VOLUMES, pool="pool"))
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
    """Make an empty volume of SIZE, like 512M, 10G or 2T (powers of 1024)."""
    finish(app, app.api.post(VOLUMES, pool=pool, volume=name, size=size, force=force or None))


@volume.command()
@pool_argument
@name_argument
@click.argument("image_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-f", "--format", "image_format", type=click.Choice(IMAGE_FORMATS), default="raw", show_default=True,
    help="What IMAGE_FILE is.",
)  # fmt: skip
@click.option("--sha256", help="The image's SHA-256: bytes that have another are refused.")
@click.pass_obj
def upload(app: App, pool: str, name: str, image_file: Path, image_format: str, sha256: str | None) -> None:
    """Fill a volume with a disk image from this machine."""
    from pvc_cli.uploading import upload_file

    answer = upload_file(app, where(pool, name, "upload"), image_file, image_format=image_format, sha256=sha256)
    finish(app, answer, done=told(answer.message, answer.body))


@volume.command()
@pool_argument
@name_argument
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-s", "--snapshot", help="What the volume was in this snapshot.")
@click.option("-i", "--since", help="Only what changed since this snapshot, in Ceph's rbd diff format.")
@click.option("--diff", type=Number(1, 2), help="The diff format's version; without --since from nothing.")
@click.pass_obj
def export(
    app: App, pool: str, name: str, file: Path, snapshot: str | None, since: str | None, diff: int | None
) -> None:
    """Write a volume's content into FILE as a raw image, or as a diff between two snapshots."""
    from pvc_cli.uploading import download_file

    count = download_file(app, where(pool, name, "export"), file, snapshot=snapshot, since=since, diff=diff)
    app.out.say(f"{file} has {count} bytes.")


@volume.command("import")
@pool_argument
@name_argument
@click.argument("snapshot")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-i", "--since", help="The snapshot of the volume that the diff follows; without it, a full diff.")
@click.option("--sha256", help="The file's SHA-256: bytes that have another are refused.")
@click.pass_obj
def import_(app: App, pool: str, name: str, snapshot: str, file: Path, since: str | None, sha256: str | None) -> None:
    """Bring a volume to what the diff in FILE leads to, and call that SNAPSHOT."""
    from pvc_cli.uploading import upload_file

    answer = upload_file(app, where(pool, name, "import"), file, snapshot=snapshot, since=since or None, sha256=sha256)
    finish(app, answer, done=told(answer.message, answer.body))


def told(message: str, body: dict[str, Any]) -> str:
    digest = body.get("sha256")
    return f"{message} SHA-256 {digest}" if digest else message


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
    """Make a volume SIZE large, like 512M, 10G or 2T; the guest that has it sees it."""
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
@click.option("--thin", is_flag=True, help="Share what neither changes, instead of copying.")
@click.pass_obj
def clone(app: App, pool: str, name: str, new_name: str, force: bool, thin: bool) -> None:
    """Copy a volume to a new one in the same pool."""
    finish(app, app.api.post(where(pool, name, "clone"), new_volume=new_name, force=force or None, thin=thin or None))


@volume.command()
@pool_argument
@name_argument
@wait_task_option
@click.pass_obj
def flatten(app: App, pool: str, name: str, wait: bool) -> None:
    """Copy what a thin clone shares, so that it needs no other volume."""
    finish(app, app.api.post(where(pool, name, "flatten")), wait=wait)


@volume.command()
@pool_argument
@click.argument("name")
@click.pass_obj
def scan(app: App, pool: str, name: str) -> None:
    """Look at a volume again; one that was made outside of PVC becomes a volume."""
    finish(app, app.api.post(where(pool, name, "scan")))


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
