"""`pvc node`: look at nodes, empty and refill them, move the primary role."""

from __future__ import annotations

import time

import click

from pvc_cli.api import Answer, path
from pvc_cli.app import App
from pvc_cli.complete import names
from pvc_cli.errors import ApiError, CliError, ExitCode, NoAnswer
from pvc_cli.following import show
from pvc_cli.formats import INFO, LIST, emit, format_option
from pvc_cli.lazy import LazyGroup
from pvc_cli.options import Number, node_argument, wait_flag, wait_task_option, yes_option
from pvc_cli.views import node as view
from pvc_cli.waiting import again, finish, wait_for_task

PRIMARY_WITHIN_S = 120.0
POLL_S = 0.5


@click.group(cls=LazyGroup)
def node() -> None:
    """Nodes: the machines that run the virtual machines.

    Where NODE may be left out, the machine the command runs on is meant.
    """


@node.command("is-primary")
@node_argument
@click.pass_context
def is_primary(ctx: click.Context, node: str) -> None:
    """Exit with 0 if NODE is the primary coordinator, with 1 if not; more than 1 means it could not be asked."""
    app: App = ctx.obj
    primary = app.api.one(path("node", node, "coordinator-state"), f'node "{node}"').body["coordinator_state"]
    app.out.say(f"{node} is {'' if primary == 'primary' else 'not '}the primary.")
    ctx.exit(ExitCode.DONE if primary == "primary" else ExitCode.NO)


@node.command()
@node_argument
@wait_flag
@click.pass_obj
def primary(app: App, node: str, wait: bool) -> None:
    """Make the coordinator NODE the primary."""
    set_coordinator_state(app, node, "primary", wait)


@node.command()
@node_argument
@wait_flag
@click.pass_obj
def secondary(app: App, node: str, wait: bool) -> None:
    """Make the coordinator NODE hand the primary role on."""
    set_coordinator_state(app, node, "secondary", wait)


@node.command()
@node_argument
@wait_flag
@click.pass_obj
def flush(app: App, node: str, wait: bool) -> None:
    """Move every VM away from NODE and send none there, for maintenance of the machine."""
    set_domain_state(app, node, "flush", wait)


@node.command()
@click.argument("name", metavar="NODE", shell_complete=names("/node"))
@click.option("--confirm-off", is_flag=True, help="You vouch that the machine is off and will not come back.")
@wait_task_option
@yes_option
@click.pass_obj
def remove(app: App, name: str, confirm_off: bool, wait: bool, yes: bool) -> None:
    """Forget NODE, which is off for good. It must hold no VM and no volume."""
    app.confirm(f"Forget node {name}?", yes=yes)
    finish(app, app.api.delete(path("node", name), confirm=confirm_off), wait=wait)


@node.command()
@node_argument
@wait_flag
@click.pass_obj
def ready(app: App, node: str, wait: bool) -> None:
    """Let NODE run VMs again and bring those back that were moved away."""
    set_domain_state(app, node, "ready", wait)


@node.command()
@node_argument
@yes_option
@click.pass_obj
def fence(app: App, node: str, yes: bool) -> None:
    """Say that you have switched the lost NODE off yourself, so that its VMs start elsewhere.

    It switches nothing. If NODE still runs, its VMs run twice and destroy their disks.
    """
    app.confirm(
        f"Is node {node} without power now, and do you vouch that it stays so until it is booted anew? "
        "If it still runs, its VMs will run twice and destroy their disks.",
        yes=yes,
    )
    app.out.say(app.api.post(path("node", node, "fence"), confirm=True).body["message"])


@node.command("fence-test")
@node_argument
@format_option("pretty", "json", "json-pretty")
@click.pass_context
def fence_test(ctx: click.Context, node: str, format_: str) -> None:
    """Could NODE be fenced? Every coordinator tries all but the act; exits with 1 if one could not."""
    app: App = ctx.obj
    found = app.api.post(path("node", node, "fence-test")).body
    emit(app, format_, found, pretty=lambda f: view.fence_test(app.out, f))
    ctx.exit(ExitCode.DONE if found["passed"] else ExitCode.NO)


@node.command()
@node_argument
@click.option("-l", "--lines", type=Number(min=1), help="How many lines [1000; with --follow 10].")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until interrupted.")
@click.pass_obj
def log(app: App, node: str, lines: int | None, follow: bool) -> None:
    """Show the log of NODE's daemon."""
    show(app, path("node", node, "log"), lines=lines, follow=follow)


@node.command()
@node_argument
@format_option(*INFO)
@click.pass_obj
def info(app: App, node: str, format_: str) -> None:
    """Show one node."""
    found = app.api.one(path("node", node), f'node "{node}"').body
    emit(app, format_, found, pretty=lambda n: view.node_info(app.out, n), long=lambda n: view.node_long(app.out, n))


@node.command()
@node_argument
@click.pass_obj
def why(app: App, node: str) -> None:
    """Say why NODE is in its state, what it waits for, and what cannot leave it."""
    app.out.say("\n".join(app.api.get(path("node", node, "why")).body["lines"]))


@node.command("list")
@click.argument("limit", required=False, shell_complete=names("/node"))
@click.option("-ds", "--daemon-state", help="Only nodes whose daemon is in this state.")
@click.option("-cs", "--coordinator-state", help="Only nodes in this coordinator state.")
@click.option("-vs", "--domain-state", help="Only nodes in this domain state.")
@format_option(*LIST)
@click.pass_obj
def list_nodes(
    app: App,
    limit: str | None,
    daemon_state: str | None,
    coordinator_state: str | None,
    domain_state: str | None,
    format_: str,
) -> None:
    """List nodes; LIMIT is a regular expression for their names."""
    nodes = app.api.get(
        "/node",
        limit=limit,
        daemon_state=daemon_state,
        coordinator_state=coordinator_state,
        domain_state=domain_state,
    ).body
    emit(app, format_, nodes, pretty=lambda d: view.node_list(app.out, d), raw=lambda d: [n["name"] for n in d])


def set_domain_state(app: App, node: str, wanted: str, wait: bool) -> None:
    """The answer names the task that tells how far it is; an API that names none is asked to wait itself."""
    where = path("node", node, "domain-state")

    def order() -> Answer:
        return app.api.post(where, state=wanted, wait=False)

    try:
        answer = order()
    except NoAnswer as error:
        if not error.sent:
            raise
        answer = again(order)  # the same order once more takes the place of the first, and changes nothing of it
    if wait and answer.progress:
        app.out.say(wait_for_task(app, answer.progress, label=f"{wanted} {node}"))
    elif wait:
        finish(app, app.api.post(where, state=wanted, wait=True))
    else:
        follow = f" To follow it: pvc task wait {answer.progress}" if answer.progress else ""
        app.out.say(answer.message + follow)


def set_coordinator_state(app: App, node: str, wanted: str, wait: bool) -> None:
    where = path("node", node, "coordinator-state")
    try:
        answer = app.api.post(where, state=wanted)
    except NoAnswer as error:
        if not error.sent:
            raise
        # Asked through the floating address, which may move before the answer is sent. It is met once, so look.
        wait_for_state(app, where, node, wanted)
        app.out.say(f"Node {node} is {wanted} now.")
        return
    finish(app, answer, wait=wait)
    if wait:
        wait_for_state(app, where, node, wanted)
        app.out.say(f"Node {node} is {wanted} now.")


def wait_for_state(app: App, where: str, node: str, wanted: str) -> None:
    """The API moves with the primary role, so that it may be silent for a moment: that is no failure here."""
    deadline = time.monotonic() + PRIMARY_WITHIN_S
    while time.monotonic() < deadline:
        try:
            if app.api.get(where).body["coordinator_state"] == wanted:
                return
        except (NoAnswer, ApiError) as error:
            if isinstance(error, ApiError) and error.status < 500:
                raise
        time.sleep(POLL_S)
    raise CliError(f"{node} did not become {wanted} within {PRIMARY_WITHIN_S:.0f} s.", help="pvc node list tells more")
