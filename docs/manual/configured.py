"""The configuration reference: every key of pvc.yaml and of the plugins here, read off the schemas that check them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from marshmallow import Schema, fields, missing

from pvc_core.loader.discover import discover
from pvc_core.schema.allowed import allowed, fields_by_key
from pvc_core.schema.config import ConfigSchema

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
Row = tuple[str, fields.Field]


def configuration_reference() -> Iterator[str]:
    yield "# Configuration reference\n"
    yield "Made of the schemas that check `pvc.yaml`; `pvcnoded --check` says the same of a file, with its line."
    yield "[Configuration](configuration.md) tells how the parts belong together.\n"
    for key, field in fields_by_key(ConfigSchema()).items():
        yield f"\n## {key}\n"
        if key == "plugins":
            yield from _plugins()
        else:
            yield from _table(list(_rows(field, key)))


def _plugins() -> Iterator[str]:
    yield f"{_sentence(allowed(fields_by_key(ConfigSchema())['plugins']))} What is not named is not loaded.\n"
    ours = sorted(path.name for path in PLUGINS.iterdir() if path.name in discover([]).installed)
    for name, one in discover(ours).found.items():
        schema = getattr(one.target, "config_schema")()  # noqa: B009  # of whatever class the entry point names
        rows = [row for key, field in fields_by_key(schema).items() for row in _rows(field, key)]
        yield f"\n### plugins.{name}\n"
        yield from _table(rows) if rows else ["No settings: `{}`.\n"]


def _rows(field: fields.Field, key: str) -> Iterator[Row]:
    """A mapping with keys of its own becomes a row for each of them."""
    inner: Schema | None = field.schema if isinstance(field, fields.Nested) else None
    if inner is None or field.metadata.get("allowed"):
        yield key, field
        return
    for name, one in fields_by_key(inner).items():
        yield from _rows(one, f"{key}.{name}")


def _table(rows: list[Row]) -> Iterator[str]:
    yield "| key | default | what |\n|---|---|---|"
    for key, field in rows:
        yield f"| `{key}` | {_default(field)} | {_words(field)} |"
    yield ""


def _default(field: fields.Field) -> str:
    if field.required:
        return "must be given"
    default = field.load_default
    if default is missing or default is None:
        return ""
    return f"`{json.dumps(default() if callable(default) else default, default=str)}`"


def _words(field: fields.Field) -> str:
    told = str(field.metadata.get("description", ""))
    said = allowed(field)
    return _sentence(f"{said}; {told}" if told and told != said else said).replace("|", "\\|").replace("<", "&lt;")


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
