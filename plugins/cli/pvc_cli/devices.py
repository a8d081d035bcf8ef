"""Adding a device to a VM or taking one away: in its definition, and in the running guest if wanted.

API v1 knows it as two requests, the definition's PUT and then the device's POST or DELETE. If the second one fails the
definition is already changed: the message says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pvc_cli.api import path
from pvc_cli.app import App
from pvc_cli.editing import read_definition, wants_restart, write_definition
from pvc_cli.errors import CliError
from pvc_cli.waiting import finish

Change = Callable[[str], tuple[str, str]]
"""From the definition to the new definition and the device's own XML."""


def change_device(
    app: App,
    domain: str,
    change: Change,
    *,
    how: Literal["attach", "detach"],
    live: bool,
    restart: bool | None,
    yes: bool,
) -> None:
    old = read_definition(app, domain)
    xml, device = change(old.xml)
    live = live and old.running
    # A guest that gets the change while it runs needs no restart, so nobody is asked for one.
    restart = bool(restart) if live else wants_restart(app, restart, old, yes=yes)
    answer = write_definition(app, domain, old, xml, restart=restart)
    if not live or restart:
        finish(app, answer)
        return
    ask = app.api.post if how == "attach" else app.api.delete
    try:
        finish(app, ask(path("vm", domain, "device"), form={"xml": device}))
    except CliError:
        app.out.note("The definition is changed, the running guest is not: the change takes effect at its next start.")
        raise
