"""`pvc storage osd`, and `create-db-vg`, which stands in two places of the tree."""

from __future__ import annotations

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.complete import names
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import Fraction, Number, wait_task_option, yes_option
from pvc_cli.views import storage as view
from pvc_cli.waiting import finish

OSDS = "/storage/ceph/osd"
SURE = "yes-i-really-mean-it"

osd_argument = click.argument("osdid", type=Number(min=0), shell_complete=names(OSDS, "{id}"))
node_argument = click.argument("node", shell_complete=names("/node"))
ratio_option = click.option(
    "-r", "--ext-db-ratio", type=Fraction(min=0, min_open=True, max=1),
    help="The database in the volume group osd-db, of this share of the disk.",
)  # fmt: skip
size_option = click.option("-s", "--ext-db-size", help="The database in the volume group osd-db, of this size.")


@click.group(cls=LazyGroup)
def osd() -> None:
    """OSDs: the disks that Ceph keeps data on. DEVICE is a path, or detect:NAME:SIZE:NUMBER."""


@click.command("create-db-vg")
@node_argument
@click.argument("device")
@wait_task_option
@yes_option
@click.pass_obj
def create_db_vg(app: App, node: str, device: str, wait: bool, yes: bool) -> None:
    """Make the volume group that OSDs' databases get their part of, on a fast DEVICE of NODE."""
    app.confirm(f"Destroy all data on {device} of {node} and make a volume group of it?", yes=yes)
    finish(app, app.api.post("/storage/ceph/osddb", node=node, device=device), wait=wait)


osd.add_command(create_db_vg)


@osd.command()
@node_argument
@click.argument("device")
@click.option(
    "-w", "--weight", type=Fraction(min=0), default=1.0, show_default=True,
    help="In CRUSH; 1.0 is by its size.",
)  # fmt: skip
@ratio_option
@size_option
@click.option("-c", "--osd-count", type=Number(1, 16), help="So many OSDs on this disk [1].")
@wait_task_option
@yes_option
@click.pass_obj
def add(
    app: App, node: str, device: str, weight: float, ext_db_ratio: float | None, ext_db_size: str | None,
    osd_count: int | None, wait: bool, yes: bool,
) -> None:  # fmt: skip
    """Make an OSD of DEVICE of NODE."""
    app.confirm(f"Destroy all data on {device} of {node} and make an OSD of it?", yes=yes)
    answer = app.api.post(
        OSDS, node=node, device=device, weight=weight, ext_db_ratio=ext_db_ratio, ext_db_size=ext_db_size,
        osd_count=osd_count,
    )  # fmt: skip
    finish(app, answer, wait=wait)


@osd.command()
@osd_argument
@click.argument("new_device")
@click.option("-o", "--old-device", help="Where it was, if Ceph does not know.")
@click.option("-w", "--weight", type=Fraction(min=0), help="In CRUSH [as before].")
@ratio_option
@size_option
@wait_task_option
@yes_option
@click.pass_obj
def replace(
    app: App, osdid: int, new_device: str, old_device: str | None, weight: float | None, ext_db_ratio: float | None,
    ext_db_size: str | None, wait: bool, yes: bool,
) -> None:  # fmt: skip
    """Put the OSD OSDID onto NEW_DEVICE of its node; its data come from the other copies."""
    app.confirm(f"Destroy OSD {osdid} and make it anew on {new_device}?", yes=yes)
    answer = app.api.post(
        path("storage", "ceph", "osd", osdid), new_device=new_device, old_device=old_device, weight=weight,
        ext_db_ratio=ext_db_ratio, ext_db_size=ext_db_size, yes_i_really_mean_it=SURE,
    )  # fmt: skip
    finish(app, answer, wait=wait)


@osd.command()
@osd_argument
@click.argument("device")
@click.option("-n", "--node", help="Where the disk is now [where the OSD was].", shell_complete=names("/node"))
@wait_task_option
@yes_option
@click.pass_obj
def refresh(app: App, osdid: int, device: str, node: str | None, wait: bool, yes: bool) -> None:
    """Start the OSD OSDID from DEVICE, to which its disk was moved."""
    app.confirm(f"Start OSD {osdid} from {device}?", yes=yes)
    finish(app, app.api.put(path("storage", "ceph", "osd", osdid), device=device, node=node), wait=wait)


@osd.command()
@osd_argument
@click.option("-f", "--force", is_flag=True, help="Without waiting until its data are elsewhere.")
@wait_task_option
@yes_option
@click.pass_obj
def remove(app: App, osdid: int, force: bool, wait: bool, yes: bool) -> None:
    """Take the data off an OSD, then destroy it."""
    app.confirm(f"Remove OSD {osdid} and destroy what is on its disk?", yes=yes)
    answer = app.api.delete(path("storage", "ceph", "osd", osdid), force=force or None, yes_i_really_mean_it=SURE)
    finish(app, answer, wait=wait)


@osd.command("in")
@osd_argument
@click.pass_obj
def in_(app: App, osdid: int) -> None:
    """Let Ceph keep data on an OSD."""
    finish(app, app.api.post(path("storage", "ceph", "osd", osdid, "state"), state="in"))


@osd.command()
@osd_argument
@click.pass_obj
def out(app: App, osdid: int) -> None:
    """Let Ceph move the data off an OSD."""
    finish(app, app.api.post(path("storage", "ceph", "osd", osdid, "state"), state="out"))


@osd.command("set")
@click.argument("osd_property")
@click.pass_obj
def set_(app: App, osd_property: str) -> None:
    """Set a flag of the whole of Ceph, like noout."""
    finish(app, app.api.post("/storage/ceph/option", option=osd_property, action="set"))


@osd.command()
@click.argument("osd_property")
@click.pass_obj
def unset(app: App, osd_property: str) -> None:
    """Take a flag of the whole of Ceph away."""
    finish(app, app.api.post("/storage/ceph/option", option=osd_property, action="unset"))


@osd.command("list")
@click.argument("limit", required=False)
@format_option(*LIST)
@click.pass_obj
def list_osds(app: App, limit: str | None, format_: str) -> None:
    """List OSDs; LIMIT is a regular expression for their numbers."""
    found = app.api.get(OSDS, limit=limit).body
    emit(app, format_, found, pretty=lambda d: view.osd_list(app.out, d), raw=lambda d: [o["id"] for o in d])
