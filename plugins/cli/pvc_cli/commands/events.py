"""`pvc cluster events`: what changes, as it changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from pvc_cli.app import App
from pvc_cli.errors import CliError, NoAnswer
from pvc_cli.listening import told
from pvc_cli.waiting import again

SHOWN = ("state", "daemon_state", "domain_state", "node", "status", "reason")
KINDS = ("vm", "node", "network", "pool", "volume", "task", "fault", "cluster")


@click.command()
@click.option("-k", "--kind", type=click.Choice(KINDS), multiple=True, help="Only these.")
@click.option("-f", "--format", "format_", type=click.Choice(["pretty", "json"]), default="pretty", help="[pretty]")
@click.pass_obj
def events(app: App, kind: tuple[str, ...], format_: str) -> None:
    """Show what changes, a line each, until interrupted; json has one object a line."""
    last = [""]
    while True:
        for name, body in told(followed(app, list(kind), last[-1]), last.append):
            del last[:-1]
            if name != "ready":
                app.out.say(json.dumps({"event": name, **body}) if format_ == "json" else line(name, body))
            if name == "cut":
                raise NoAnswer(f"The API cut this off: {body.get('reason', '')}.", help=str(body.get("help", "")))
        app.out.note("[the connection went; connecting again]")


def followed(app: App, kinds: list[str], last: str) -> Iterator[str]:
    """With `last` from there on: the API may have moved with the primary, or be about to begin anew."""

    def ask() -> Iterator[str] | None:
        return app.api.follow("/events", kind=kinds or None, last_event_id=last or None)

    pieces = again(ask) if last else ask()
    if pieces is None:
        raise CliError("This API tells no events.", help="it is older than this command; pvc task list shows what runs")
    return pieces


def line(name: str, body: dict[str, Any]) -> str:
    if body.get("removed"):
        return f"{name:<8} {body.get('name') or body['id']}: removed"
    words = [str(body[key]) for key in SHOWN if body.get(key)]
    return f"{name:<8} {body.get('name') or body.get('id', '')}: {', '.join(words) or 'changed'}"
