"""`pvc network`: networks for virtual machines."""

from __future__ import annotations

from typing import Any

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.complete import names
from pvc_cli.formats import INFO, LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import Number, yes_option
from pvc_cli.views import network as view
from pvc_cli.waiting import finish

NETWORKS = "/network"
WORDS = (
    click.option("-m", "--mtu", type=Number(0, 65535), help="Bytes inside it; 0: as large as the hosts allow."),
    click.option("-n", "--domain", help="The domain of its guests' names."),
    click.option("--dns-server", "name_servers", multiple=True, metavar="ADDRESS", help="A name server; repeatable."),
    click.option("-i", "--ipnet", "ip4_network", metavar="NETWORK", help="Its IPv4 network, like 10.20.0.0/24."),
    click.option("-i6", "--ipnet6", "ip6_network", metavar="NETWORK", help="Its IPv6 network, like fd20::/64."),
    click.option("-g", "--gateway", "ip4_gateway", metavar="ADDRESS", help="The cluster's own IPv4 address in it."),
    click.option("-g6", "--gateway6", "ip6_gateway", metavar="ADDRESS", help="The cluster's own IPv6 address in it."),
    click.option("--dhcp/--no-dhcp", "dhcp4", default=None, help="Whether guests get IPv4 addresses."),
    click.option("--dhcp-start", "dhcp4_start", metavar="ADDRESS", help="The first address guests get."),
    click.option("--dhcp-end", "dhcp4_end", metavar="ADDRESS", help="The last address guests get."),
    click.option("-O", "--option", "option", multiple=True, metavar="KEY=VALUE", help="An option of the driver."),
)


def words(command: Any) -> Any:
    """Give `command` the options that add and modify share."""
    for option in reversed(WORDS):
        command = option(command)
    return command


@click.group(
    cls=LazyGroup,
    lazy={
        "acl": ("pvc_cli.commands.network_acl:acl", "Rules for what guests may send and get."),
        "sriov": ("pvc_cli.commands.network_sriov:sriov", "Virtual functions of nodes' NICs."),
        "dhcp": ("pvc_cli.commands.network_dhcp:dhcp", "Addresses that guests get."),
    },
)
def network() -> None:
    """Networks for virtual machines. NET is a VNI or a network's description."""


@network.command()
@click.argument("vni", type=Number(1, 16_777_215))
@click.option("-d", "--description", required=True, help="Its name.")
@click.option(
    "-p", "--type", "nettype", required=True, metavar="TYPE", help="managed, bridged, or another that the cluster has."
)
@words
@click.pass_obj
def add(app: App, vni: int, **given: Any) -> None:
    """Make the network VNI on all nodes."""
    finish(app, app.api.post(NETWORKS, vni=vni, **_given(given)))


@network.command()
@click.argument("net", metavar="VNI", shell_complete=names(NETWORKS, "{description}"))
@click.option("-d", "--description", help="Another name.")
@words
@click.pass_obj
def modify(app: App, net: str, **given: Any) -> None:
    """Change a network in place; its guests stay connected. An empty text takes a thing away."""
    finish(app, app.api.put(path("network", net), **_given(given)))


@network.command()
@click.argument("net", shell_complete=names(NETWORKS, "{description}"))
@yes_option
@click.pass_obj
def remove(app: App, net: str, yes: bool) -> None:
    """Remove a network from all nodes. Refused while a VM has a network card on it."""
    app.confirm(f"Remove network {net}?", yes=yes)
    finish(app, app.api.delete(path("network", net)))


@network.command()
@click.argument("net", metavar="VNI", shell_complete=names(NETWORKS, "{description}"))
@format_option(*INFO)
@click.pass_obj
def info(app: App, net: str, format_: str) -> None:
    """Show everything about a network."""
    found = app.api.one(path("network", net), f'network "{net}"').body
    emit(app, format_, found, pretty=lambda d: view.network_info(d), long=lambda d: view.network_info(d))


@network.command("list")
@click.argument("limit", required=False, shell_complete=names(NETWORKS, "{description}"))
@format_option(*LIST)
@click.pass_obj
def list_networks(app: App, limit: str | None, format_: str) -> None:
    """List networks; LIMIT is a regular expression for VNI or description."""
    found = app.api.get(NETWORKS, limit=limit).body
    emit(app, format_, found, pretty=lambda d: view.network_list(app.out, d), raw=lambda d: [n["vni"] for n in d])


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None and value != ()}
