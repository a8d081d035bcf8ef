"""`pvc vm vcpu` and `pvc vm memory`."""

from __future__ import annotations

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.commands.vm_common import domain_argument
from pvc_cli.editing import read_definition, wants_restart
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import Mebibytes, Number, restart_option, yes_option
from pvc_cli.tables import facts
from pvc_cli.waiting import finish


@click.group(cls=LazyGroup)
def vcpu() -> None:
    """Virtual CPUs of a VM."""


@vcpu.command("get")
@domain_argument
@format_option(*LIST)
@click.pass_obj
def get_vcpu(app: App, domain: str, format_: str) -> None:
    """Show how many vCPUs a VM has."""
    vm = app.api.one(path("vm", domain), f'VM "{domain}"').body
    emit(
        app,
        format_,
        {key: vm[key] for key in ("name", "vcpu", "vcpu_topology")},
        pretty=lambda v: facts(
            [("Name", v["name"]), ("vCPUs", v["vcpu"]), ("Sockets/cores/threads", v["vcpu_topology"])]
        ),
        raw=lambda v: [v["vcpu"]],
    )


@vcpu.command("set")
@domain_argument
@click.argument("vcpus", type=Number(min=1))
@click.option("-t", "--topology", help="SOCKETS,CORES,THREADS [1,VCPUS,1].")
@restart_option
@yes_option
@click.pass_obj
def set_vcpu(app: App, domain: str, vcpus: int, topology: str | None, restart: bool | None, yes: bool) -> None:
    """Give a VM that many vCPUs."""
    restart = wants_restart(app, restart, read_definition(app, domain), yes=yes)
    layout = topology or f"1,{vcpus},1"
    finish(app, app.api.put(path("vm", domain, "vcpu"), form={"vcpus": vcpus, "topology": layout}, restart=restart))


@click.group(cls=LazyGroup)
def memory() -> None:
    """Memory of a VM."""


@memory.command("get")
@domain_argument
@format_option(*LIST)
@click.pass_obj
def get_memory(app: App, domain: str, format_: str) -> None:
    """Show how much memory a VM has, in MiB."""
    vm = app.api.one(path("vm", domain), f'VM "{domain}"').body
    emit(
        app,
        format_,
        {key: vm[key] for key in ("name", "memory")},
        pretty=lambda v: facts([("Name", v["name"]), ("Memory", f"{v['memory']} MiB")]),
        raw=lambda v: [v["memory"]],
    )


@memory.command("set")
@domain_argument
@click.argument("memory", type=Mebibytes())
@restart_option
@yes_option
@click.pass_obj
def set_memory(app: App, domain: str, memory: int, restart: bool | None, yes: bool) -> None:
    """Give a VM that much MEMORY: a number of MiB, or one with a unit, like 4G."""
    restart = wants_restart(app, restart, read_definition(app, domain), yes=yes)
    finish(app, app.api.put(path("vm", domain, "memory"), form={"memory": memory}, restart=restart))
