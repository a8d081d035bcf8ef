"""Options that many commands share, so that they are called and explained the same everywhere."""

from __future__ import annotations

import re
import socket
from typing import Any

import click

from pvc_cli.complete import names


class Number(click.IntRange):
    """click's own, whose name stands in help and in errors: "'two' is not a valid number"."""

    name = "number"


class Fraction(click.FloatRange):
    name = "number"


class Mebibytes(click.ParamType):
    """Memory: a number of MiB, or one with a unit, like 4G."""

    name = "size"
    units = {"": 1, "M": 1, "G": 1024, "T": 1024**2}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"([1-9]\d{0,9})\s*([MGT]?)(?:I?B)?", str(value).strip().upper())
        if found is None:
            self.fail(f"{value!r} is no size of memory: give a number of MiB, or one with a unit, like 4G.", param, ctx)
        return int(found[1]) * self.units[found[2]]


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
    "-l/-L", "--live/--no-live", "live", default=True,
    help="Change the running guest too, or only its definition [live].",
)  # fmt: skip


def node_argument(command: Any) -> Any:
    """[NODE], by default the machine the command runs on."""
    return click.argument(
        "node",
        default=lambda: socket.gethostname().split(".")[0],
        metavar="[NODE]",
        shell_complete=names("/node"),
    )(command)
