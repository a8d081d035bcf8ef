"""`pvc network sriov`: pieces of nodes' NICs that guests can have for themselves."""

from __future__ import annotations

from typing import Any

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.complete import names
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import Number
from pvc_cli.views import sriov as view
from pvc_cli.waiting import finish

node_argument = click.argument("node", shell_complete=names("/node"))
RATE = Number(0, 1_000_000)


@click.group(cls=LazyGroup)
def sriov() -> None:
    """Virtual functions of nodes' NICs (SR-IOV)."""


@sriov.group()
def pf() -> None:
    """NICs that are divided: physical functions."""


@pf.command("list")
@node_argument
@format_option(*LIST)
@click.pass_obj
def list_pf(app: App, node: str, format_: str) -> None:
    """List the NICs of NODE that are divided."""
    found = app.api.get(path("sriov", "pf", node)).body
    emit(
        app,
        format_,
        found,
        pretty=lambda d: view.pf_list(app.out, d),
        raw=lambda d: [one["phy"] for one in d],
    )


@sriov.group()
def vf() -> None:
    """Pieces of them: virtual functions."""


@vf.command("list")
@node_argument
@click.argument("pf", required=False, shell_complete=names("/sriov/pf/{node}", "{phy}"))
@format_option(*LIST)
@click.pass_obj
def list_vf(app: App, node: str, pf: str | None, format_: str) -> None:
    """List the virtual functions of NODE, or only those of its NIC PF."""
    found = app.api.get(path("sriov", "vf", node), pf=pf).body
    emit(
        app,
        format_,
        found,
        pretty=lambda d: view.vf_list(app.out, d),
        raw=lambda d: [one["phy"] for one in d],
    )


@vf.command()
@node_argument
@click.argument("vf", shell_complete=names("/sriov/vf/{node}", "{phy}"))
@format_option("pretty", "json", "json-pretty")
@click.pass_obj
def info(app: App, node: str, vf: str, format_: str) -> None:
    """Show the virtual function VF of NODE."""
    found = app.api.one(path("sriov", "vf", node, vf), f'virtual function "{vf}" on {node}').body
    emit(app, format_, found, pretty=lambda d: view.vf_info(app.out, d))


@vf.command("set")
@node_argument
@click.argument("vf", shell_complete=names("/sriov/vf/{node}", "{phy}"))
@click.option("--vlan-id", type=Number(0, 4094), help="The VLAN of its frames; 0 for none.")
@click.option("--vlan-qos", type=Number(0, 7), help="Their priority.")
@click.option("--tx-rate-min", type=RATE, help="What it can always send, in Mbit/s.")
@click.option("--tx-rate-max", type=RATE, help="The most it sends, in Mbit/s; 0 for no limit.")
@click.option("--link-state", type=click.Choice(("auto", "enable", "disable")), help="Whether it has a link.")
@click.option("--spoof-check/--no-spoof-check", default=None, help="Whether it can send with its own MAC only.")
@click.option("--trust/--no-trust", default=None, help="Whether its user may change the MAC and hear all frames.")
@click.option("--query-rss/--no-query-rss", default=None, help="Whether its user may ask how frames are spread.")
@click.pass_obj
def set_vf(app: App, node: str, vf: str, **given: Any) -> None:
    """Set the virtual function VF of NODE, which keeps that."""
    words = {name: value for name, value in given.items() if value is not None}
    if not words:
        raise click.UsageError("Say what shall be set, like --vlan-id 100.")
    finish(app, app.api.put(path("sriov", "vf", node, vf), **words))
