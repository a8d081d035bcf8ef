"""`pvc vm list|info|why|dump|log`: look at VMs."""

from __future__ import annotations

from pathlib import Path

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.commands.vm_common import domain_argument
from pvc_cli.complete import names
from pvc_cli.following import show
from pvc_cli.formats import INFO, LIST, emit, format_option
from pvc_cli.options import Number
from pvc_cli.views import vm as view


@click.command("list")
@click.argument("limit", required=False, shell_complete=names("/vm"))
@click.option("-t", "--target", "node", help="Only VMs on this node.", shell_complete=names("/node"))
@click.option("-s", "--state", help="Only VMs in this state.")
@click.option("-g", "--tag", help="Only VMs with this tag.")
@click.option("-n", "--negate", is_flag=True, help="Those that do not match --target, --state or --tag.")
@format_option(*LIST)
@click.pass_obj
def list_vms(
    app: App, limit: str | None, node: str | None, state: str | None, tag: str | None, negate: bool, format_: str
) -> None:
    """List VMs; LIMIT is a regular expression for their names, or a UUID."""
    vms = app.api.get("/vm", limit=limit, node=node, state=state, tag=tag, negate=negate or None).body
    emit(app, format_, vms, pretty=lambda d: view.vm_list(app.out, d), raw=lambda d: [v["name"] for v in d])


@click.command()
@domain_argument
@format_option(*INFO)
@click.pass_obj
def info(app: App, domain: str, format_: str) -> None:
    """Show one VM."""
    found = app.api.one(path("vm", domain), f'VM "{domain}"').body
    emit(app, format_, found, pretty=lambda v: view.vm_info(app.out, v), long=lambda v: view.vm_long(app.out, v))


@click.command()
@domain_argument
@click.pass_obj
def why(app: App, domain: str) -> None:
    """Say what the cluster is doing about a VM, what is wanted of it and what was seen last."""
    vm = app.api.one(path("vm", domain), f'VM "{domain}"').body
    nodes = {node["name"]: node for node in app.api.get("/node").body}
    app.out.say(view.why(vm, nodes.get(vm.get("node", ""))))


@click.command()
@domain_argument
@click.option("-f", "--file", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write it there.")
@click.pass_obj
def dump(app: App, domain: str, target: Path | None) -> None:
    """Print a VM's definition (libvirt XML) exactly as it was given."""
    xml = str(app.api.one(path("vm", domain), f'VM "{domain}"').body["xml"])
    if target is None:
        app.out.say(xml, newline=not xml.endswith("\n"))
    else:
        target.write_bytes(xml.encode())
        app.out.say(f"Wrote the definition of {domain} to {target}.")


@click.command()
@domain_argument
@click.option("-l", "--lines", type=Number(min=1), help="How many lines [1000; with --follow 10].")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until interrupted.")
@click.pass_obj
def log(app: App, domain: str, lines: int | None, follow: bool) -> None:
    """Show what a VM wrote to its serial console."""
    show(app, path("vm", domain, "console"), lines=lines, follow=follow)
