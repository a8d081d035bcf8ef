"""What the manuals are built from: a copy of docs/, and the references that PVC itself is asked for (its API's
document, its configuration's schemas; the command tree is sphinx-click's). Usage: stage.py DIRECTORY. Sphinx does the
rest (conf.py beside this file, script/docs).
"""

from __future__ import annotations

import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configured import configuration_reference

from pvc_api_falcon.openapi import document
from pvc_api_falcon.page import shown
from pvc_api_falcon.routes import THERE
from pvc_core import __version__

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent
BASE = "/api/v1"


def main(argv: list[str]) -> int:
    source = Path(argv[0])
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("manual", "__pycache__", "*.egg-info"))
    shutil.copy(HERE / "conf.py", source)
    shutil.copy(HERE / "index.md", source)
    shutil.copy(DOCS.parent / "CHANGELOG.md", source)
    for page in source.rglob("*.md"):
        page.write_text(linked(page.read_text()))
    (source / "api-reference.md").write_text("\n".join(api_reference(document(THERE, __version__))) + "\n")
    (source / "config-reference.md").write_text("\n".join(configuration_reference()) + "\n")
    (source / "cli-reference.md").write_text("\n".join(cli_reference()) + "\n")
    return 0


def linked(text: str) -> str:
    """What lies beside docs/ in the repository lies in it here; a directory cannot be linked to."""
    text = text.replace("](../CHANGELOG.md)", "](CHANGELOG.md)")
    return re.sub(r"\[([^\]]*)\]\((examples/[^)]*)\)", r"\1", text)


# -- the API -----------------------------------------------------------------------------------------------------------


def api_reference(told: dict[str, Any]) -> Iterator[str]:
    yield "# API reference\n"
    yield f"Made of the OpenAPI document that every API serves at `{BASE}/openapi.json`. [The HTTP API](api.md) tells"
    yield "what all paths have in common: keys and roles, where parameters may stand, errors, ETags, paging. A task"
    yield "is answered with `202` and [Started](#started); every error has the body [Error](#error).\n"
    nouns: dict[str, list[tuple[str, str, dict[str, Any]]]] = defaultdict(list)
    for path, methods in told["paths"].items():
        for method, what in methods.items():
            nouns[what["tags"][0]].append((method.upper(), path, what))
    for noun in sorted(nouns):
        yield f"\n## {noun}\n"
        for method, path, what in nouns[noun]:
            yield from _operation(method, path, what)
    yield "\n## Bodies\n"
    for name, schema in sorted(told["components"]["schemas"].items()):
        yield f"\n### {name}\n"
        yield f"{_flat(schema.get('description', ''))}\n"
        yield from _table(schema)


def _operation(method: str, path: str, what: dict[str, Any]) -> Iterator[str]:
    yield f"\n### {method} {path}\n"
    yield f"{_flat(what['summary'])} {what['description']}\n"
    yield from _parameters(what)
    answers = [f"`{code}` {_content(one)}" for code, one in what["responses"].items() if code < "300"]
    errors = ", ".join(f"`{code}`" for code in what["responses"] if code >= "300")
    yield f"Answers {'; '.join(answers)}. Errors: {errors}.\n"


def _parameters(what: dict[str, Any]) -> Iterator[str]:
    contents = what.get("requestBody", {}).get("content", {})
    body: dict[str, Any] = next((one["schema"] for one in contents.values()), {})
    rows = [(one["name"], one["in"], one["required"], one["schema"]) for one in what["parameters"]]
    rows += [(name, "body or query", name in body["required"], one) for name, one in body.get("properties", {}).items()]
    if rows:
        yield "| name | in | required | what |\n|---|---|---|---|"
        for name, where, required, schema in rows:
            yield f"| `{name}` | {where} | {'yes' if required else ''} | {_kind(schema)} |"
        yield ""


def _table(schema: dict[str, Any]) -> Iterator[str]:
    required = schema.get("required", [])
    if schema.get("properties"):
        yield "| key | always | what |\n|---|---|---|"
        for name, one in schema["properties"].items():
            yield f"| `{name}` | {'yes' if name in required else ''} | {_kind(one)} |"
        yield ""


def _content(answer: dict[str, Any]) -> str:
    told = answer.get("content", {}).items()
    kinds = [_kind(one["schema"]) if kind == "application/json" else kind for kind, one in told]
    return " or ".join(kinds) or "without a body"


def _kind(schema: dict[str, Any]) -> str:
    words = [_type(schema)]
    if "enum" in schema:
        words.append("one of " + ", ".join(f"`{one}`" for one in schema["enum"]))
    if "minimum" in schema:
        words.append(f"{schema['minimum']} to {schema.get('maximum', 'any')}")
    if "description" in schema:
        words.append(_flat(schema["description"]))
    words += [f"like `{shown(one).strip()}`" for one in schema.get("examples", ())]
    return "; ".join(words).replace("|", "\\|")


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema['items'])}" if schema.get("items") else "list"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _flat(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")


# -- the command line --------------------------------------------------------------------------------------------------


def cli_reference() -> Iterator[str]:
    yield "# CLI reference\n"
    yield "Made of the commands themselves; `--help` shows the same. [The command line](cli.md) has what they share.\n"
    yield "```{eval-rst}\n.. click:: pvc_cli.main:cli\n   :prog: pvc\n   :nested: full\n```"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
