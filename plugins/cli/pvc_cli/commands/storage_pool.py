"""`pvc storage pool`."""

from __future__ import annotations

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.complete import names
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import Number, yes_option
from pvc_cli.views import storage as view
from pvc_cli.waiting import finish

POOLS = "/storage/ceph/pool"


@click.group(cls=LazyGroup)
def pool() -> None:
    """Pools: where volumes are kept, and by which driver."""


@pool.command()
@click.argument("name")
@click.argument("pgs", type=Number(min=0))
@click.option(
    "-t", "--tier", type=click.Choice(("default", "hdd", "ssd", "nvme")), default="default", show_default=True,
    help="The kind of disks it uses.",
)  # fmt: skip
@click.option(
    "--replcfg", default="copies=3,mincopies=2", show_default=True, help="How many copies are kept, how many needed."
)
@click.option("--driver", help="The storage plugin that keeps it [the cluster's default].")
@click.option("-O", "--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the driver.")
@click.pass_obj
def add(app: App, name: str, pgs: int, tier: str, replcfg: str, driver: str | None, options: tuple[str, ...]) -> None:
    """Make the pool NAME. PGS is its number of placement groups, 0 Ceph's own choice; other drivers ignore it."""
    answer = app.api.post(POOLS, pool=name, pgs=pgs, tier=tier, replcfg=replcfg, driver=driver, option=options)
    finish(app, answer)


@pool.command()
@click.argument("name", shell_complete=names(POOLS))
@yes_option
@click.pass_obj
def remove(app: App, name: str, yes: bool) -> None:
    """Remove a pool and every volume in it."""
    app.confirm(f"Remove pool {name} with all its volumes?", yes=yes)
    finish(app, app.api.delete(path("storage", "ceph", "pool", name), yes_i_really_mean_it="yes-i-really-mean-it"))


@pool.command("set-pgs")
@click.argument("name", shell_complete=names(POOLS))
@click.argument("pgs", type=Number(min=0))
@yes_option
@click.pass_obj
def set_pgs(app: App, name: str, pgs: int, yes: bool) -> None:
    """Change a pool's number of placement groups; data moves; 0 is Ceph's own choice."""
    app.confirm(f"Change pool {name} to {pgs} placement groups?", yes=yes)
    finish(app, app.api.put(path("storage", "ceph", "pool", name), pgs=pgs))


@pool.command("list")
@click.argument("limit", required=False, shell_complete=names(POOLS))
@format_option(*LIST)
@click.pass_obj
def list_pools(app: App, limit: str | None, format_: str) -> None:
    """List pools; LIMIT is a regular expression for their names."""
    found = app.api.get(POOLS, limit=limit).body
    emit(app, format_, found, pretty=lambda d: view.pool_list(app.out, d), raw=lambda d: [p["name"] for p in d])
