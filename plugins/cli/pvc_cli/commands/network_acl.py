"""`pvc network acl`: what guests of a network may send and get."""

from __future__ import annotations

from typing import Any

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.complete import names
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import Number, yes_option
from pvc_cli.views import network as view
from pvc_cli.waiting import finish

net_argument = click.argument("net", shell_complete=names("/network", "{description}"))


@click.group(cls=LazyGroup)
def acl() -> None:
    """Rules for what guests of a network may send and get."""


@acl.command()
@net_argument
@click.option("--in/--out", "into", default=False, help="For what guests get, or what they send [--out].")
@click.option("-d", "--description", required=True, help="Its name.")
@click.option("-r", "--rule", required=True, help="One nftables statement, like 'tcp dport 22 accept'.")
@click.option("-o", "--order", type=Number(0), help="Its place among those of its direction [the last].")
@click.pass_obj
def add(app: App, net: str, into: bool, description: str, rule: str, order: int | None) -> None:
    """Add a rule to network NET. The nodes' nft is asked before it is stored."""
    way = "in" if into else "out"
    words: dict[str, Any] = {"description": description, "rule": rule, "direction": way, "order": order}
    finish(
        app, app.api.post(path("network", net, "acl"), **{name: one for name, one in words.items() if one is not None})
    )


@acl.command()
@net_argument
@click.argument("rule", shell_complete=names("/network/{net}/acl", "{description}"))
@yes_option
@click.pass_obj
def remove(app: App, net: str, rule: str, yes: bool) -> None:
    """Remove the rule with the description RULE from network NET."""
    app.confirm(f"Remove rule {rule} from network {net}?", yes=yes)
    finish(app, app.api.delete(path("network", net, "acl", rule)))


@acl.command("list")
@net_argument
@click.argument("limit", required=False)
@click.option("--in/--out", "into", default=None, help="Only what guests get, or only what they send.")
@click.option("--counters", is_flag=True, help="Ask the nodes what each has matched.")
@format_option(*LIST)
@click.pass_obj
def list_acls(app: App, net: str, limit: str | None, into: bool | None, counters: bool, format_: str) -> None:
    """List the rules of network NET in their order; LIMIT is a regular expression for the description."""
    way = None if into is None else "in" if into else "out"
    found = app.api.get(path("network", net, "acl"), limit=limit, direction=way, counters=counters or None).body
    emit(
        app,
        format_,
        found,
        pretty=lambda d: view.acl_list(app.out, d),
        raw=lambda d: [one["description"] for one in d],
    )
