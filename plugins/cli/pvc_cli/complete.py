"""Shell completion with the names of the cluster's objects. A completion that cannot ask offers nothing, in silence."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from pvc_cli.app import App
from pvc_cli.errors import CliError

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def names(where: str, key: str = "{name}", *, inside: str = "", **given: str) -> Completer:
    """A completer that offers `key` of every object the API lists at `where`, or of the list `inside` its answer.

    `key` names members of an object, like "{pool}/{name}". `where` may name arguments that stand before, like
    "/network/{net}/acl". `given` maps parameters of the API to arguments, like pool="pool"; what was not typed is left
    out.
    """

    def complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        try:
            found = _asked(ctx, where, {name: ctx.params.get(argument) for name, argument in given.items()})
        except (CliError, KeyError):
            return []
        offered = {key.format_map(one) for one in (found[inside] if inside else found)}
        return sorted(one for one in offered if one.startswith(incomplete))

    return complete


def connections(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The clusters in the connection store."""
    from pvc_cli.connections import ConnectionStore

    try:
        known = ConnectionStore.from_environment(os.environ).read()
    except CliError:
        return []
    return sorted(name for name in ("local", *known) if name.startswith(incomplete))


def _asked(ctx: click.Context, where: str, params: dict[str, Any]) -> Any:
    """What the API answers. Raises CliError, KeyError when an argument is missing."""
    from pvc_cli.api import path

    parts = [part.format_map(ctx.params) for part in where.split("/")[1:]]
    options = ctx.find_root().params
    app = App(os.environ)
    app.configure(connection=options.get("connection"), debug=False, quiet=True, silent=True, unsafe=False, colour=None)
    try:
        return app.api.get(path(*parts), **params).body
    finally:
        app.close()
