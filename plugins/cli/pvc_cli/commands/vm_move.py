"""`pvc vm move|migrate|unmigrate|flush-locks`: where a VM runs."""

from __future__ import annotations

from typing import Any

import click

from pvc_cli.api import Answer, path
from pvc_cli.app import App
from pvc_cli.commands.vm_common import domain_argument
from pvc_cli.complete import names
from pvc_cli.errors import TaskFailed
from pvc_cli.options import wait_flag, wait_task_option
from pvc_cli.waiting import ask_and_wait, finish, telling

target_option = click.option(
    "-t", "--target", help="The node to move to [chosen by the cluster].", shell_complete=names("/node")
)
live_only_option = click.option("--force-live", is_flag=True, help="Never shut it down if it cannot move live.")


def act(
    app: App, domain: str, action: str, *, wait: bool, force_live: bool, node: str | None = None, force: bool = False
) -> None:
    # What is false is left out, as it is the default.
    params: dict[str, Any] = {"action": action, "node": node, "force": force or None, "force_live": force_live or None}
    where = path("vm", domain, "node")
    if not wait:
        finish(app, app.api.post(where, **params), wait=False)
        return
    with telling(app, "vm", domain, wait=True):
        answer = ask_and_wait(app, where, answered, **params)
    if isinstance(answer, Answer):
        finish(app, answer)
    elif answer["not_moved"]:
        raise TaskFailed(f"VM {domain} was not moved: {answer['not_moved']}")
    else:
        app.out.say(f"VM {domain} lives on {answer['node']}.")


def answered(place: dict[str, Any]) -> bool:
    return bool(place["answered"])


@click.command()
@domain_argument
@target_option
@wait_flag
@live_only_option
@click.pass_obj
def move(app: App, domain: str, target: str | None, wait: bool, force_live: bool) -> None:
    """Move a VM to another node for good."""
    act(app, domain, "move", node=target, wait=wait, force_live=force_live)


@click.command()
@domain_argument
@target_option
@click.option("-f", "--force", is_flag=True, help="Migrate even a VM that is already migrated.")
@wait_flag
@live_only_option
@click.pass_obj
def migrate(app: App, domain: str, target: str | None, force: bool, wait: bool, force_live: bool) -> None:
    """Move a VM to another node for a while; `unmigrate` brings it back."""
    act(app, domain, "migrate", node=target, force=force, wait=wait, force_live=force_live)


@click.command()
@domain_argument
@wait_flag
@live_only_option
@click.pass_obj
def unmigrate(app: App, domain: str, wait: bool, force_live: bool) -> None:
    """Bring a migrated VM back to the node it came from."""
    act(app, domain, "unmigrate", wait=wait, force_live=force_live)


@click.command("flush-locks")
@domain_argument
@wait_task_option
@click.pass_obj
def flush_locks(app: App, domain: str, wait: bool) -> None:
    """Remove stale locks from the volumes of a VM that is off."""
    finish(app, app.api.post(path("vm", domain, "locks")), wait=wait)
