"""Tables and lists of facts as text. Columns are data; the views of each kind of object are in views/."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from pvc_cli.output import Output

REPLACED = "\N{REPLACEMENT CHARACTER}"

UNBOUNDED = 10_000
"""Width for pipes: a script gets one line per object, however long."""

STATE_COLOURS = {
    "green": ("run", "ready", "start", "up", "in", "active", "primary", "success", "yes", "on"),
    "yellow": ("shutdown", "restart", "migrate", "migrate-live", "unmigrate", "flush", "unflush", "init", "custody",
               "takeover", "relinquish", "running", "pending"),
    "red": ("stop", "fail", "dead", "fenced", "failure", "broken", "down", "out"),
    "blue": ("disable", "provision", "flushed", "secondary", "client", "import", "restore", "mirror", "no", "off"),
}  # fmt: skip
COLOUR_OF = {word: colour for colour, words in STATE_COLOURS.items() for word in words}


@dataclass(frozen=True)
class Column:
    """`value` makes the cell's text from the object; with `state` the text is coloured by its meaning."""

    title: str
    value: Callable[[Any], Any]
    right: bool = False
    state: bool = False


def table(out: Output, columns: Sequence[Column], rows: Sequence[Any], *, empty: str = "") -> str:
    """The rows below the columns' titles; `empty` (if given) instead of a table without rows."""
    if not rows and empty:
        return empty
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(
            Text(column.title), justify="right" if column.right else "left", overflow="fold", no_wrap=not terminal
        )
    for row in rows:
        made.add_row(*(cell(column, row, Text) for column in columns))
    colours = out.colours(sys.stdout)
    console = Console(
        width=None if terminal else UNBOUNDED,
        force_terminal=colours,
        no_color=not colours,
        color_system="standard" if colours else None,
        legacy_windows=False,
    )
    with console.capture() as captured:
        console.print(made)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def cell(column: Column, row: Any, make: Callable[..., Any]) -> Any:
    text = plain(column.value(row))
    return make(text, style=COLOUR_OF.get(text.lower(), "") if column.state else "")


def facts(rows: Sequence[tuple[str, Any]]) -> str:
    """One "Label:  value" per line, values in one column. A value of several lines is indented below itself."""
    width = max((len(label) for label, _ in rows), default=0) + 1
    lines = []
    for label, value in rows:
        first, *rest = plain(value).splitlines() or [""]
        head = click.style(f"{label}:".ljust(width), bold=True)
        lines.append(f"{head}  {first}".rstrip())
        lines += [f"{'':{width}}  {line}" for line in rest]
    return "\n".join(lines)


def section(title: str, text: str) -> str:
    indented = "\n".join(f"  {line}" for line in text.splitlines())
    return f"\n{click.style(title + ':', bold=True)}\n{indented}"


class Styled(str):
    """Text whose control characters are ours: colours."""


def state(text: Any) -> Styled:
    """A state's word in its colour; taken out again by Output.say where colours are not wanted."""
    return Styled(click.style(plain(text), fg=COLOUR_OF.get(plain(text).lower())))


def plain(value: Any) -> str:
    """Text fit for a terminal: no control characters, whatever a description or a guest's name contains."""
    if value is None or isinstance(value, Styled):
        return value or ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(one) for one in value)
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else REPLACED for c in text)


def size(size_bytes: Any) -> str:
    """Bytes for people, in powers of 1024.

    >>> size(1536)
    '1.5K'
    """
    try:
        left = float(size_bytes)
    except (TypeError, ValueError):
        return plain(size_bytes)
    for unit in ("", "K", "M", "G", "T", "P"):
        if abs(left) < 1024 or unit == "P":
            break
        left /= 1024
    return f"{left:.1f}".removesuffix(".0") + unit
