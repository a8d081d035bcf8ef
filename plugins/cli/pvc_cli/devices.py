"""Adding a device to a VM or taking one away: in its definition, and in the running guest if wanted.

The API changes the definition and answers with the device's own text, which then goes into the running guest (or out of
it) as the wire has it: by POST or DELETE. If that fails the definition is already changed: the message says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pvc_cli.api import Value, path
from pvc_cli.app import App
from pvc_cli.editing import read_definition, wants_restart
from pvc_cli.errors import CliError
from pvc_cli.waiting import finish


def change_device(
    app: App,
    domain: str,
    kind: Literal["volume", "network"],
    form: Mapping[str, Value],
    *,
    how: Literal["attach", "detach"],
    live: bool,
    restart: bool | None,
    yes: bool,
) -> None:
    old = read_definition(app, domain)
    live = live and old.running
    # A guest that gets the change while it runs needs no restart, so nobody is asked for one.
    restart = bool(restart) if live else wants_restart(app, restart, old, yes=yes)
    ask = app.api.post if how == "attach" else app.api.delete
    answer = ask(path("vm", domain, kind), form=form, restart=restart)
    if not live or restart:
        finish(app, answer)
        return
    try:
        finish(app, ask(path("vm", domain, "device"), form={"xml": answer.body["device"]}))
    except CliError:
        app.out.note("The definition is changed, the running guest is not: the change takes effect at its next start.")
        raise
