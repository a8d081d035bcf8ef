"""Shell completion with the names of the cluster's objects. A completion that cannot ask offers nothing, in silence."""

from __future__ import annotations

import os
from collections.abc import Callable

import click

from pvc_cli.app import App
from pvc_cli.errors import CliError

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def names(where: str, key: str = "name") -> Completer:
    """A completer that offers `key` of every object the API lists at `where`."""

    def complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        app = App(os.environ)
        options = ctx.find_root().params
        app.configure(
            connection=options.get("connection"), debug=False, quiet=True, silent=True, unsafe=False, colour=None
        )
        try:
            found = app.api.get(where).body
        except CliError:
            return []
        finally:
            app.close()
        return sorted(str(one[key]) for one in found if str(one[key]).startswith(incomplete))

    return complete
