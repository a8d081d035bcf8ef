"""Output formats: one option for all commands, one function that prints in the format asked for.

json is what the API answered, unchanged, on one line; json-pretty the same, indented; raw is names, one per line,
sorted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from pvc_cli.app import App

LIST = ("pretty", "raw", "json", "json-pretty")
INFO = ("pretty", "long", "json", "json-pretty")

View = Callable[[Any], "str | Iterable[str]"]


def format_option(*formats: str, default: str = "pretty") -> Callable[[Any], Any]:
    return click.option(
        "-f", "--format", "format_", type=click.Choice(formats), default=default, show_default=True,
        help="How the answer is written.",
    )  # fmt: skip


def emit(app: App, format_: str, data: Any, **views: View) -> None:
    """Print `data` as `format_`. `views` has a function for each format that is not JSON.

    raw's answers with the names; the others answer with the whole text.
    """
    text = rendered(format_, data, views)
    if text or format_ != "raw":
        app.out.say(text)


def rendered(format_: str, data: Any, views: Mapping[str, View]) -> str:
    if format_ == "json":
        return json.dumps(data)
    if format_ == "json-pretty":
        return json.dumps(data, indent=2)
    made = views[format_](data)
    return made if isinstance(made, str) else "\n".join(sorted(str(name) for name in made))
