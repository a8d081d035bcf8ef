# SPDX-License-Identifier: LGPL-3.0-or-later
"""Who changed what, when, from where, and what came of it. How much of it is kept is services/audit.py's business."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One request that was to change something, whether it did or was refused."""

    at_s: float
    """Wall time, for people."""
    by: str
    """The name of an API key, or "local"."""
    role: str
    source: str
    """The address it came from; "local" for the API's socket."""
    action: str
    """Method and path, like "DELETE /vm/web1"."""
    args: str = ""
    """Its parameters, without what may be a secret."""
    status: int = 200
    result: str = ""
    """The sentence it was answered with."""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Entries of one API, in their order. Pages are numbered; only the last ones are kept."""

    node: str
    number: int
    entries: tuple[AuditEntry, ...] = ()
