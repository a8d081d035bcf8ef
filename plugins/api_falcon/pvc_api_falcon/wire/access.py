"""Who may, and who did, on the wire: API keys and the audit log."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, TypedDict, cast

from msgspec import Meta

from pvc_api_falcon.wire.common import UtcTime
from pvc_core.model.audit import AuditEntry
from pvc_core.model.cluster import ApiKey


class KeyBody(TypedDict):
    """An API key, without what opens doors."""

    name: str
    role: str
    description: str
    created_at: Annotated[float, Meta(description="seconds since 1970")]


class NewKey(TypedDict):
    message: str
    name: str
    key: Annotated[str, Meta(description="shown in this answer only")]


class AuditBody(TypedDict):
    """One request that was to change something, whether it did or was refused."""

    at: UtcTime
    at_s: Annotated[float, Meta(description="seconds since 1970")]
    by: Annotated[str, Meta(description='the name of a key, or "local"')]
    role: str
    source: Annotated[str, Meta(description="the address it came from")]
    action: Annotated[str, Meta(description="method and path")]
    args: str
    status: int
    result: str
    request_id: str


def key_body(key: ApiKey) -> KeyBody:
    return {"name": key.name, "role": key.role, "description": key.description, "created_at": key.created_at_s}


def audit_body(entry: AuditEntry) -> AuditBody:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.at_s))
    return cast(AuditBody, {"at": at, **asdict(entry)})
