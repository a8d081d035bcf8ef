"""Changing a VM's definition: show the difference, ask, write only if nobody else wrote meanwhile."""

from __future__ import annotations

import difflib
import tempfile
from dataclasses import dataclass
from typing import Any

import click

from pvc_cli.api import Answer, path
from pvc_cli.app import App
from pvc_cli.errors import ApiError, Changed, CliError


@dataclass(frozen=True)
class Definition:
    """A VM as it was read: everything the API said, its XML, and the version if the API gave one."""

    vm: dict[str, Any]
    xml: str
    etag: str

    @property
    def running(self) -> bool:
        return self.vm.get("state") == "start"


def read_definition(app: App, domain: str) -> Definition:
    answer = app.api.one(path("vm", domain), f'VM "{domain}"')
    return Definition(answer.body, str(answer.body.get("xml") or ""), answer.etag)


def write_definition(app: App, domain: str, old: Definition, xml: str, *, restart: bool) -> Answer:
    """PUT the new XML. Raises Changed, and writes nothing, when the VM is no longer what `old` says.

    With an ETag the API compares; without one we can only look once more just before.
    """
    where = f'VM "{domain}" was changed by somebody else since it was read; nothing was written.'
    if not old.etag and read_definition(app, domain).xml != old.xml:
        raise Changed(where, help="do your change again on the new definition")
    try:
        return app.api.put(path("vm", domain), form={"xml": xml}, restart=restart, if_match=old.etag)
    except ApiError as error:
        if error.status == 412:
            raise Changed(where, help="do your change again on the new definition") from error
        raise


def edited(app: App, text: str) -> str:
    """`text` as it comes back from the user's editor (VISUAL, EDITOR)."""
    app.out.note("The definition is open in your editor.")
    try:
        made = click.edit(text, extension=".xml")
    except click.ClickException as error:
        raise CliError(error.format_message(), help="set EDITOR to an editor that is installed") from error
    if made is None:
        return text
    # click ends the file with a newline for the editor's sake; one that was not there is not the user's.
    return made if text.endswith("\n") else made.removesuffix("\n")


def difference(old: str, new: str) -> str:
    """A unified diff in colour; empty when equal."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), fromfile="current", tofile="new", lineterm="", n=3)
    return "\n".join(coloured(line) for line in lines)


def coloured(line: str) -> str:
    if line.startswith(("---", "+++")):
        return click.style(line, bold=True)
    colour = {"+": "green", "-": "red", "@": "blue"}.get(line[:1])
    return click.style(line, fg=colour) if colour else line


def kept(text: str) -> str:
    """Save what the user wrote where it can be found again; the file's name."""
    with tempfile.NamedTemporaryFile("w", prefix="pvc-vm-", suffix=".xml", delete=False) as file:
        file.write(text)
    return file.name


def wants_restart(app: App, restart: bool | None, old: Definition, *, yes: bool = False) -> bool:
    """Whether to restart the VM for the change: as the option says, else asked; a VM that is off needs none.

    -y answers the question with yes, as it does everywhere.
    """
    if restart is not None or not old.running:
        return bool(restart)
    if yes or app.unsafe:
        return True
    try:
        return click.confirm("The change takes effect when the VM restarts. Restart it now?", err=True)
    except click.Abort:
        raise CliError(
            "It was not said whether to restart the VM; nothing was changed.", help="give --restart or --no-restart"
        ) from None
