"""API keys and the audit log as text."""

from __future__ import annotations

import time
from typing import Any

from pvc_cli.output import Output
from pvc_cli.tables import Column, table

KEYS = (
    Column("Name", lambda k: k["name"]),
    Column("Role", lambda k: k["role"]),
    Column("Made", lambda k: time.strftime("%Y-%m-%d", time.gmtime(k["created_at"])) if k["created_at"] else "-"),
    Column("Description", lambda k: k["description"] or "-"),
)
ENTRIES = (
    Column("When (UTC)", lambda e: e["at"]),
    Column("Who", lambda e: f"{e['by']} ({e['role']})"),
    Column("From", lambda e: e["source"]),
    Column("What", lambda e: f"{e['action']} {e['args']}".strip()),
    Column("Status", lambda e: e["status"], right=True),
    Column("Result", lambda e: e["result"]),
)


def keys(out: Output, found: list[dict[str, Any]]) -> str:
    return table(out, KEYS, found, empty="There are no API keys; `pvc key add` makes one.")


def entries(out: Output, found: list[dict[str, Any]]) -> str:
    return table(out, ENTRIES, found, empty="Nothing was changed yet, as far as is kept.")
