"""`pvc cluster audit`: who changed what."""

from __future__ import annotations

import click

from pvc_cli.app import App
from pvc_cli.formats import emit, format_option
from pvc_cli.options import Number
from pvc_cli.views import key as view


@click.command()
@click.argument("limit", required=False)
@click.option("-l", "--lines", type=Number(1, 10_000), default=100, show_default=True, help="How many.")
@format_option("pretty", "json", "json-pretty")
@click.pass_obj
def audit(app: App, limit: str | None, lines: int, format_: str) -> None:
    """Show who changed what through the API, when, from where and with which result, the last at the end.

    LIMIT is a regular expression for the name of the key.
    """
    found = app.api.get("/audit", limit=limit, lines=lines).body
    emit(app, format_, found, pretty=lambda e: view.entries(app.out, e[::-1]))
