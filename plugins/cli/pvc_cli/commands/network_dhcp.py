"""`pvc network dhcp`: leases and reservations."""

from __future__ import annotations

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.complete import names
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import yes_option
from pvc_cli.views import network as view
from pvc_cli.waiting import finish

net_argument = click.argument("net", shell_complete=names("/network", "{description}"))


@click.group(cls=LazyGroup)
def dhcp() -> None:
    """Addresses that guests get in a network."""


@dhcp.command()
@net_argument
@click.argument("ipaddr")
@click.argument("hostname")
@click.argument("macaddr")
@click.pass_obj
def add(app: App, net: str, ipaddr: str, hostname: str, macaddr: str) -> None:
    """Reserve the address IPADDR in network NET for the guest with MACADDR."""
    answer = app.api.post(path("network", net, "lease"), macaddress=macaddr, ipaddress=ipaddr, hostname=hostname)
    finish(app, answer)


@dhcp.command()
@net_argument
@click.argument("macaddr", shell_complete=names("/network/{net}/lease", "{mac_address}"))
@yes_option
@click.pass_obj
def remove(app: App, net: str, macaddr: str, yes: bool) -> None:
    """Take a reservation back, or end a lease. MACADDR may also be its address or host name."""
    app.confirm(f"Remove the reservation or lease of {macaddr} in network {net}?", yes=yes)
    finish(app, app.api.delete(path("network", net, "lease", macaddr)))


@dhcp.command("list")
@net_argument
@click.argument("limit", required=False)
@click.option("-s", "--static", is_flag=True, help="Reservations only.")
@format_option(*LIST)
@click.pass_obj
def list_leases(app: App, net: str, limit: str | None, static: bool, format_: str) -> None:
    """List leases and reservations; LIMIT is a regular expression for MAC, address or host name."""
    found = app.api.get(path("network", net, "lease"), limit=limit, static=static or None).body
    emit(
        app,
        format_,
        found,
        pretty=lambda d: view.lease_list(app.out, d),
        raw=lambda d: [one["mac_address"] for one in d],
    )
