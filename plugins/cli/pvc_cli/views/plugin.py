"""Plugins as text."""

from __future__ import annotations

from typing import Any

from pvc_cli.output import Output
from pvc_cli.tables import Column, facts, plain, section, state, table

COLUMNS = (
    Column("Name", lambda p: p["name"]),
    Column("Version", lambda p: p["version"]),
    Column("API", lambda p: api_range(p)),
    Column("State", lambda p: p["state"], state=True),
    Column("Capabilities", lambda p: capabilities(p)),
    Column("Reason", lambda p: p.get("reason") or ""),
)

ACTIONS = (
    Column("Action", lambda a: a["name"]),
    Column("Runs on", lambda a: {"node": "the node named", "primary": "the primary"}.get(a["where"], a["where"])),
    Column("What it does", lambda a: a["help"]),
)


def plugin_list(out: Output, plugins: list[dict[str, Any]]) -> str:
    return table(out, COLUMNS, sorted(plugins, key=lambda p: p["name"]), empty="No plugin is loaded.")


def plugin_info(out: Output, plugin: dict[str, Any]) -> str:
    rows = [
        ("Name", plugin["name"]),
        ("Package", f"{plugin.get('distribution', '')} {plugin['version']}"),
        ("Plugin API", api_range(plugin)),
        ("State", state(plugin["state"])),
        ("Reason", plugin.get("reason") or "-"),
        ("Roles", plugin.get("roles") or "-"),
        ("Capabilities", capabilities(plugin) or "-"),
    ]
    actions = plugin.get("actions") or []
    parts = [facts(rows)]
    if actions:
        parts.append(section("Actions (pvc plugin run)", table(out, ACTIONS, actions)))
    return "\n".join(parts)


def api_range(plugin: dict[str, Any]) -> str:
    low, high = plugin["api_range"]
    return str(low) if low == high else f"{low}-{high}"


def capabilities(plugin: dict[str, Any]) -> str:
    """Names of what it can do; a capability that is more than yes or no shows its value."""
    found = plugin.get("capabilities") or {}
    return ", ".join(
        name if value is True else f"{name}={'+'.join(map(plain, value)) if isinstance(value, list) else plain(value)}"
        for name, value in sorted(found.items())
        if value not in (False, None, [], "")
    )
