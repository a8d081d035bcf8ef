"""`pvc vm network`: a VM's network cards."""

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
from pvc_cli.views.vm import NICS


@click.group(cls=LazyGroup)
def network() -> None:
    """Network cards of a VM. NET is a VNI, a network's description, or upstream, cluster or storage."""


@network.command()
@domain_argument
@format_option(*LIST)
@click.pass_obj
def get(app: App, domain: str, format_: str) -> None:
    """Show a VM's network cards."""
    vm = app.api.one(path("vm", domain), f'VM "{domain}"').body
    emit(
        app,
        format_,
        {key: vm[key] for key in ("name", "networks")},
        pretty=lambda v: table(app.out, NICS, v["networks"], empty="The VM has no network card."),
        raw=lambda v: [nic["vni"] for nic in v["networks"]],
    )


@network.command()
@domain_argument
@click.argument("net", shell_complete=names("/network", "{vni}"))
@click.option("-a", "--macaddr", help="Its MAC address [a new one].")
@click.option("-m", "--model", default="virtio", show_default=True, help="The card's model.")
@click.option("-s", "--sriov", is_flag=True, help="NET is an SR-IOV virtual function.")
@click.option(
    "-d", "--sriov-mode", type=click.Choice(("hostdev", "macvtap")), default="macvtap", show_default=True,
    help="How the function is given to the guest; hostdev cannot migrate.",
)  # fmt: skip
@live_option
@restart_option
@yes_option
@click.pass_obj
def add(
    app: App,
    domain: str,
    net: str,
    macaddr: str | None,
    model: str,
    sriov: bool,
    sriov_mode: str,
    live: bool,
    restart: bool | None,
    yes: bool,
) -> None:
    """Give a VM a network card on NET: a VNI, a network's description, or upstream, cluster or storage."""
    form = {"network": net, "macaddr": macaddr, "model": model, "sriov": sriov, "sriov_mode": sriov_mode}
    change_device(app, domain, "network", form, how="attach", live=live, restart=restart, yes=yes)


@network.command()
@domain_argument
@click.argument("net", required=False, shell_complete=names("/network", "{vni}"))
@click.option("-m", "--mac-address", help="The card's MAC address.")
@click.option("-s", "--sriov", is_flag=True, help="NET is an SR-IOV virtual function.")
@live_option
@restart_option
@yes_option
@click.pass_obj
def remove(
    app: App,
    domain: str,
    net: str | None,
    mac_address: str | None,
    sriov: bool,
    live: bool,
    restart: bool | None,
    yes: bool,
) -> None:
    """Take a network card from a VM: the one on NET, or the one with --mac-address."""
    if net is None and mac_address is None:
        raise click.UsageError("Give NET or --mac-address.")
    form = {"network": net, "macaddr": mac_address, "sriov": sriov}
    change_device(app, domain, "network", form, how="detach", live=live, restart=restart, yes=yes)
