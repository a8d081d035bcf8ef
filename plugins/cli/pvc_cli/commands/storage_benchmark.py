"""`pvc storage benchmark`."""

from __future__ import annotations

import click

from pvc_cli.app import App
from pvc_cli.complete import names
from pvc_cli.errors import NotThere
from pvc_cli.formats import emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import wait_task_option, yes_option
from pvc_cli.views import storage as view
from pvc_cli.waiting import finish

BENCHMARK = "/storage/ceph/benchmark"


@click.group(cls=LazyGroup)
def benchmark() -> None:
    """How fast a pool is, measured by fio on an image that is removed again."""


@benchmark.command()
@click.argument("pool", shell_complete=names("/storage/ceph/pool"))
@click.option("--name", help="What the result is called [POOL and the time].")
@wait_task_option
@yes_option
@click.pass_obj
def run(app: App, pool: str, name: str | None, wait: bool, yes: bool) -> None:
    """Measure POOL; guests in it feel it meanwhile."""
    app.confirm(f"Load pool {pool} for about two minutes?", yes=yes)
    finish(app, app.api.post(BENCHMARK, pool=pool, name=name), wait=wait)


@benchmark.command()
@click.argument("job", shell_complete=names("/storage/ceph/benchmark", "{job}"))
@format_option("pretty", "json", "json-pretty")
@click.pass_obj
def info(app: App, job: str, format_: str) -> None:
    """Show one result."""
    found = app.api.get(BENCHMARK, job=job).body
    if not found:
        raise NotThere(f'There is no result "{job}".', help="pvc storage benchmark list shows them")
    emit(app, format_, found[0], pretty=lambda d: view.benchmark_info(app.out, d))


@benchmark.command("list")
@click.argument("job", required=False)
@format_option("pretty", "json", "json-pretty")
@click.pass_obj
def list_results(app: App, job: str | None, format_: str) -> None:
    """List results."""
    found = app.api.get(BENCHMARK, job=job).body
    emit(app, format_, found, pretty=lambda d: view.benchmark_list(app.out, d))
