"""`pvc plugin`: what is loaded, actions only one driver knows, and help for whoever writes a plugin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.complete import names
from pvc_cli.errors import CliError, NotThere
from pvc_cli.formats import LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import wait_task_option
from pvc_cli.views import plugin as view
from pvc_cli.waiting import finish

PROBE = (
    "import importlib.util as u, sys; sys.exit(not (u.find_spec('pytest') and u.find_spec('pvc_core.testing.check')))"
)


@click.group(cls=LazyGroup)
def plugin() -> None:
    """Plugins: what is loaded, what they can do, writing one."""


@plugin.command("list")
@format_option(*LIST)
@click.pass_obj
def list_plugins(app: App, format_: str) -> None:
    """List the plugins the cluster has loaded, and those that could not be loaded with the reason."""
    found = app.api.get("/plugin").body
    emit(app, format_, found, pretty=lambda d: view.plugin_list(app.out, d), raw=lambda d: [p["name"] for p in d])


@plugin.command()
@click.argument("name", shell_complete=names("/plugin"))
@format_option("pretty", "json", "json-pretty")
@click.pass_obj
def info(app: App, name: str, format_: str) -> None:
    """Show one plugin with its actions."""
    found = [one for one in app.api.get("/plugin").body if one["name"] == name]
    if not found:
        raise NotThere(f'No plugin "{name}" is loaded.', help="pvc plugin list shows them")
    emit(app, format_, found[0], pretty=lambda p: view.plugin_info(app.out, p))


@plugin.command()
@click.argument("name", shell_complete=names("/plugin"))
@click.argument("action")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@wait_task_option
@click.pass_obj
def run(app: App, name: str, action: str, settings: tuple[str, ...], wait: bool) -> None:
    """Run an ACTION of the plugin NAME; `pvc plugin info NAME` lists them. A KEY may be repeated."""
    form: dict[str, list[str]] = {}
    for setting in settings:
        key, given, value = setting.partition("=")
        if not key or not given:
            raise click.UsageError(f'"{setting}" is no setting: write KEY=VALUE.')
        form.setdefault(key, []).append(value)
    finish(app, app.api.post(path("plugin", name, action), form=form), wait=wait)


@plugin.command()
@click.argument("kind", type=click.Choice(("storage",)))
@click.argument("name")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), required=False)
@click.pass_obj
def new(app: App, kind: str, name: str, directory: Path | None) -> None:
    """Make the skeleton of a plugin of that KIND in DIRECTORY [./NAME]; it installs and can be tested as it is."""
    from pvc_cli.skeleton import make

    made = make(kind, name, directory or Path(name))
    app.out.say(f"Made a {kind} plugin in {made}. Next: pip install -e {made} && pvc plugin check {name}")


@plugin.command()
@click.argument("name_or_path")
@click.pass_context
def check(ctx: click.Context, name_or_path: str) -> None:
    """Test a plugin, installed or in a directory, against its contract. Needs no cluster, but pvc-core[testing]."""
    if subprocess.run([sys.executable, "-c", PROBE], stderr=subprocess.DEVNULL, check=False).returncode:
        raise CliError(
            f"Checking a plugin needs pvc-core[testing], which {sys.executable} does not have.",
            help=f"{sys.executable} -m pip install 'pvc-core[testing]'",
        )
    command = [sys.executable, "-m", "pvc_core.testing.check", name_or_path]
    ctx.exit(subprocess.run(command, check=False).returncode)
