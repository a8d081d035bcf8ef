"""The documentation page: the OpenAPI document as HTML for people. One file, no script, nothing from elsewhere."""

from __future__ import annotations

import json
from collections import defaultdict
from html import escape
from typing import Any

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
nav a{margin-right:1rem} h2{border-bottom:1px solid #ccc;margin-top:3rem} h3 code{font-size:1rem}
table{border-collapse:collapse;width:100%} td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}
.m{display:inline-block;min-width:4.5rem;font-weight:bold} .r{color:#666} code{background:#f2f2f2;padding:0 .2rem}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818} code{background:#333} .r{color:#999}}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


def page(document: dict[str, Any]) -> str:
    nouns: dict[str, list[str]] = defaultdict(list)
    for path, methods in document["paths"].items():
        for method, what in methods.items():
            nouns[what["tags"][0]].append(_operation(method, path, what))
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    links = "".join(f'<a href="#{escape(noun)}">{escape(noun)}</a>' for noun in sorted(nouns))
    parts = [f'<h2 id="{escape(noun)}">{escape(noun)}</h2>{"".join(nouns[noun])}' for noun in sorted(nouns)]
    links += '<a href="#answers">what is answered</a>'
    schemas = document["components"]["schemas"]
    parts.append(f'<h2 id="answers">What is answered</h2>{"".join(_answer(*one) for one in schemas.items())}')
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head>"
        f"<body><h1>{title}</h1><p>All paths are below <code>/api/v1</code>; send an API key in the header "
        f'<code>X-Api-Key</code>. For programs: <a href="openapi.json">openapi.json</a>.</p><nav>{links}</nav>'
        f"{''.join(parts)}</body></html>"
    )


def _operation(method: str, path: str, what: dict[str, Any]) -> str:
    contents: dict[str, Any] = what.get("requestBody", {}).get("content", {})
    body: dict[str, Any] = next((one["schema"] for one in contents.values()), {})
    rows = [_row(one["name"], one["in"], one["required"], one["schema"]) for one in what["parameters"]]
    rows += [
        _row(name, "body or query", name in body.get("required", []), one)
        for name, one in body.get("properties", {}).items()
    ]
    answers = ", ".join(code for code in what["responses"])
    success = next(one for code, one in what["responses"].items() if code in ("200", "202", "101"))
    given = " or ".join(_kind(one["schema"]) for one in success.get("content", {}).values())
    table = f"<table><tr><th>name</th><th>in</th><th>what</th></tr>{''.join(rows)}</table>" if rows else ""
    id, summary, who = (escape(what[key]) for key in ("operationId", "summary", "description"))
    return (
        f'<h3 id="{id}"><span class="m">{method.upper()}</span> <code>{escape(path)}</code></h3>'
        f'<p>{summary} <span class="r">{who} Answers: {answers}{f"; {given}" if given else ""}.</span></p>{table}'
    )


def _row(name: str, where: str, required: bool, schema: dict[str, Any]) -> str:
    words = [_kind(schema), *(["required"] if required else [])]
    if "enum" in schema:
        words.append("one of " + ", ".join(schema["enum"]))
    if "minimum" in schema:
        words.append(f"{schema['minimum']} to {schema.get('maximum', 'any')}")
    if "description" in schema:
        words.append(escape(schema["description"]))
    words += [f"like <code>{escape(shown(one))}</code>" for one in schema.get("examples", ())]
    return f"<tr><td><code>{escape(name)}</code></td><td>{where}</td><td>{'; '.join(words)}</td></tr>"


def _answer(name: str, schema: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(key)}</code></td><td>{_kind(one)}</td><td>{escape(one['description'])}</td></tr>"
        for key, one in schema.get("properties", {}).items()
    )
    words = escape(schema.get("description", ""))
    return f'<h3 id="{escape(name)}"><code>{escape(name)}</code></h3><p>{words}</p><table>{rows}</table>'


def _kind(schema: dict[str, Any]) -> str:
    """The type in words; that of an object leads to its table."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if several := schema.get("anyOf"):
        return " or ".join(map(_kind, several))
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}" if schema.get("items") else "list"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object, each member {_kind(schema['additionalProperties'])}"
    kinds = schema.get("type", "any")
    return escape(" or ".join(kinds) if isinstance(kinds, list) else kinds)


def shown(example: Any) -> str:
    """As it stands in a query or form."""
    if isinstance(example, list):
        return ", ".join(map(str, example))
    if isinstance(example, bool):
        return str(example).lower()
    return json.dumps(example) if isinstance(example, dict) else str(example)
