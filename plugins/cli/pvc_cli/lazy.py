"""A click group whose commands are imported when they are used, and that asks "did you mean ...?"; with those that
other packages bring along.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from pvc_cli.errors import CliError
from pvc_cli.extensions import brought_to, line, load


class LazyGroup(click.Group):
    """`lazy` maps a command's name to where it is ("package.module:attribute") and its line in --help."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self._own(ctx), *brought_to(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name) or self._brought(ctx, cmd_name)
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._line(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        known = name.startswith("-") or name in self._own(ctx) or name in brought_to(ctx)
        if not known and not ctx.resilient_parsing:
            ctx.fail(self._unknown(ctx, name))
        return super().resolve_command(ctx, args)

    def _own(self, ctx: click.Context) -> set[str]:
        return {*super().list_commands(ctx), *self.lazy}

    def _brought(self, ctx: click.Context, name: str) -> click.Command | None:
        """A stranger's; never in place of one of ours. Raises CliError when it cannot be loaded."""
        point = brought_to(ctx).get(name)
        if point is None:
            return None
        try:
            return load(point)
        except CliError:
            if ctx.resilient_parsing:  # a completion offers the others
                return None
            raise

    def _line(self, ctx: click.Context, name: str) -> str:
        if name in self.lazy:
            return self.lazy[name][1]
        if name not in self._own(ctx):
            return line(brought_to(ctx)[name])
        command = self.get_command(ctx, name)
        return command.get_short_help_str(100) if command else ""

    def _unknown(self, ctx: click.Context, name: str) -> str:
        from difflib import get_close_matches

        close = get_close_matches(name, self.list_commands(ctx), n=3, cutoff=0.5)
        where = ctx.command_path
        if close:
            return f'"{where}" has no command "{name}". Did you mean {" or ".join(close)}?'
        return f'"{where}" has no command "{name}". It has: {", ".join(self.list_commands(ctx))}.'
