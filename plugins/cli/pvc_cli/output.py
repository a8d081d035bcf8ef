"""Where words go: standard output for answers, standard error for everything else, colours where they are wanted.

Tables and progress bars are rich's and are made in tables.py and waiting.py; formats are chosen in formats.py.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TextIO

import click

from pvc_cli.errors import ApiError, CliError


class Output:
    """`colour` None means: when the stream is a terminal and NO_COLOR is not set (https://no-color.org)."""

    def __init__(
        self, environ: Mapping[str, str], *, quiet: bool = False, silent: bool = False, colour: bool | None = None
    ) -> None:
        self.quiet = quiet
        self.silent = silent
        self._colour = colour
        self._environ = environ

    def colours(self, stream: TextIO) -> bool:
        if self._colour is not None:
            return self._colour
        if self._environ.get("NO_COLOR") or self._environ.get("TERM") == "dumb":
            return False
        return stream.isatty()

    def say(self, text: str, *, newline: bool = True) -> None:
        """An answer."""
        if not self.silent:
            click.echo(text, nl=newline, color=self.colours(sys.stdout))

    def note(self, text: str) -> None:
        """Anything that is not the answer itself."""
        if not self.quiet:
            click.echo(text, err=True, color=self.colours(sys.stderr))

    def fail(self, error: Exception) -> None:
        self.note(click.style("Error: ", fg="red") + sentence(error))
        if isinstance(error, CliError) and error.help:
            self.note(click.style("Help:  ", fg="cyan") + error.help)
        if isinstance(error, ApiError) and error.request_id and error.status >= 500:
            self.note(f"Request id for the API's log: {error.request_id}")


def sentence(error: Exception) -> str:
    if isinstance(error, CliError):
        return error.message
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
