"""Options that many commands share, so that they are called and explained the same everywhere."""

from __future__ import annotations

import socket
from typing import Any

import click

from pvc_cli.complete import names

yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")

wait_task_option = click.option(
    "--wait/--no-wait", "wait", default=True, show_default=True, help="Wait for the task to end and show its progress."
)

wait_flag = click.option("-w", "--wait", is_flag=True, help="Wait until it is done.")

restart_option = click.option(
    "-r/-R", "--restart/--no-restart", "restart", default=None,
    help="Restart the VM so that the change takes effect, or not; asks if neither is given.",
)  # fmt: skip

live_option = click.option(
    "-l/-L", "--live/--no-live", "live", default=True, show_default=True,
    help="Change the running guest too, or only its definition.",
)  # fmt: skip


def node_argument(command: Any) -> Any:
    """[NODE], by default the machine the command runs on."""
    return click.argument(
        "node",
        default=lambda: socket.gethostname().split(".")[0],
        metavar="[NODE]",
        shell_complete=names("/node"),
    )(command)
