"""What one run of the command line knows: its options, its connection, where it writes. Nothing is global."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pvc_cli.output import Output

if TYPE_CHECKING:
    from pvc_cli.api import Api
    from pvc_cli.connections import ConnectionStore


class App:
    """Handed to every command as click's `obj`. The connection is opened when a command first needs it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.out = Output(environ)
        self.connection: str | None = None
        self.debug = False
        self.unsafe = False
        self._api: Api | None = None

    def configure(
        self, *, connection: str | None, debug: bool, quiet: bool, silent: bool, unsafe: bool, colour: bool | None
    ) -> None:
        self.connection = connection
        self.debug = debug
        self.unsafe = unsafe
        self.out = Output(self.environ, quiet=quiet or silent, silent=silent, colour=colour)

    @property
    def store(self) -> ConnectionStore:
        from pvc_cli.connections import ConnectionStore

        return ConnectionStore.from_environment(self.environ)

    @property
    def api(self) -> Api:
        """The API of the chosen connection. Raises CliError when there is none of that name."""
        if self._api is None:
            from pvc_cli.api import Api
            from pvc_cli.connections import choose
            from pvc_cli.transport import Transport

            endpoint = choose(self.connection, self.store, self.environ)
            trace = self.out.note if self.debug else None
            self._api = Api(Transport(endpoint, trace=trace), old=self._say_age)
        return self._api

    def _say_age(self, seconds: int, why: str) -> None:
        """On standard error, so that a script's answer stays what it is."""
        self.out.note(f"Shown as of {seconds} s ago: {why or 'the store does not answer this API'}.")

    def confirm(self, question: str, *, yes: bool = False) -> None:
        """Ask, unless `yes` or the global --unsafe says it already. Raises click.Abort on "no"."""
        if yes or self.unsafe:
            return
        import click

        from pvc_cli.errors import CliError

        try:
            click.confirm(question, abort=True, err=True)
        except click.Abort:
            raise CliError("Not confirmed; nothing was changed.", help="answer y, or give -y/--yes") from None

    def say_maintenance(self) -> None:
        """One line after whatever was done: nobody forgets that fencing is off."""
        if self._api is not None and self._api.maintenance:
            self.out.note(f"Note: {self._api.maintenance}.")

    def close(self) -> None:
        if self._api is not None:
            self._api.close()
