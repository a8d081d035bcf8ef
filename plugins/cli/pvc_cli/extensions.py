"""Commands that other packages bring along: entry points of the group "pvc.cli" (docs/plugin-author.md).

What is installed is looked up only where `pvc` has no command of that name itself, or lists all there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pvc_cli.errors import CliError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "pvc.cli"


def brought_to(ctx: click.Context) -> dict[str, EntryPoint]:
    """By name, those for the group of `ctx`: "tape" is `pvc tape`, "storage.tape" is `pvc storage tape`."""
    from importlib.metadata import entry_points  # 20 ms, which most runs need not pay

    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP), key=_distribution):
        where, _, name = point.name.rpartition(".")
        if where == ".".join(_words(ctx)):
            found.setdefault(name, point)
    return found


def line(point: EntryPoint) -> str:
    """For --help, which imports nothing of it."""
    return f"From {_distribution(point)}."


def load(point: EntryPoint) -> click.Command:
    """Raises CliError naming the package."""
    try:
        command = point.load()
    except Exception as error:  # a stranger's module may raise anything
        raise _broken(point, f"{type(error).__name__}: {error}") from error
    if not isinstance(command, click.Command):
        raise _broken(point, f"{point.value} is no click command")
    return command


def _broken(point: EntryPoint, why: str) -> CliError:
    name = point.name.replace(".", " ")
    whose = _distribution(point)
    return CliError(f'"pvc {name}" of {whose} cannot be loaded: {why}', help=f"mend, update or remove {whose}")


def _words(ctx: click.Context) -> list[str]:
    """What was typed up to this group, without "pvc" itself."""
    words: list[str] = []
    at: click.Context | None = ctx
    while at is not None and at.parent is not None:
        words.insert(0, at.info_name or "")
        at = at.parent
    return words


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
