"""`pvc vm start|restart|shutdown|stop|disable`."""

from __future__ import annotations

import click

from pvc_cli.api import Answer, path
from pvc_cli.app import App
from pvc_cli.commands.vm_common import domain_argument
from pvc_cli.options import wait_flag, yes_option
from pvc_cli.waiting import ask_and_wait, finish, telling

UNDER_WAY = {"restart": ("restart",), "shutdown": ("start", "shutdown", "migrate", "unmigrate")}
"""The states in which a VM that was asked to do this has not done it yet."""


def set_state(app: App, domain: str, state: str, *, force: bool = False, wait: bool = False) -> None:
    # Left out when false, so that an API which knows no such word for a state need not read it.
    where, force_it = path("vm", domain, "state"), force or None
    if not wait:
        finish(app, app.api.post(where, state=state, force=force_it))
        return
    with telling(app, "vm", domain, wait=True):
        answer = ask_and_wait(app, where, lambda now: now["state"] not in UNDER_WAY[state], state=state, force=force_it)
    if isinstance(answer, Answer):
        finish(app, answer)
    else:
        app.out.say(f"VM {domain} {'has restarted' if state == 'restart' else 'is off'}: {answer['status']}")


@click.command()
@domain_argument
@click.option("--force", is_flag=True, help="Start it whatever state it is in.")
@click.pass_obj
def start(app: App, domain: str, force: bool) -> None:
    """Start a VM."""
    set_state(app, domain, "start", force=force)


@click.command()
@domain_argument
@wait_flag
@yes_option
@click.pass_obj
def restart(app: App, domain: str, wait: bool, yes: bool) -> None:
    """Shut a VM down and start it again."""
    app.confirm(f"Restart VM {domain}?", yes=yes)
    set_state(app, domain, "restart", wait=wait)


@click.command()
@domain_argument
@wait_flag
@yes_option
@click.pass_obj
def shutdown(app: App, domain: str, wait: bool, yes: bool) -> None:
    """Ask a VM's guest to shut down; a guest that does not obey is stopped after a while."""
    app.confirm(f"Shut down VM {domain}?", yes=yes)
    set_state(app, domain, "shutdown", wait=wait)


@click.command()
@domain_argument
@click.option("--force", is_flag=True, help="Stop it whatever state it is in.")
@yes_option
@click.pass_obj
def stop(app: App, domain: str, force: bool, yes: bool) -> None:
    """Stop a VM at once, as if its power were cut."""
    app.confirm(f"Stop VM {domain} at once?", yes=yes)
    set_state(app, domain, "stop", force=force)


@click.command()
@domain_argument
@click.option("--force", is_flag=True, help="Stop it at once if it runs.")
@yes_option
@click.pass_obj
def disable(app: App, domain: str, force: bool, yes: bool) -> None:
    """Shut a VM down and keep it from being started automatically."""
    app.confirm(f"Shut down and disable VM {domain}?", yes=yes)
    set_state(app, domain, "disable", force=force)
