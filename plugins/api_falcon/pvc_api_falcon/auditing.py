"""Every request that may change something becomes an entry of the audit log; entries are written some seconds later,
together. What is kept, and for how long, is pvc_core/services/audit.py's business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from falcon.asgi import Request, Response

from pvc_api_falcon.auth import Caller
from pvc_api_falcon.door import VISIT
from pvc_api_falcon.route import Route
from pvc_api_falcon.workers import Workers
from pvc_core.model.audit import AuditEntry
from pvc_core.services.audit import AuditService

GATHER_S, AGAIN_S = 2.0, 10.0
"""Between a change and its entry in the store; and after the store did not take it."""
SHOWN_MAX, RESULT_MAX = 80, 300
_SECRET = ("passphrase", "password", "secret", "key", "token")


class Auditing:
    """In the loop's thread; the store is written in `workers`."""

    def __init__(self, audit: AuditService, workers: Workers, log: Any) -> None:
        self._audit, self._workers, self._log = audit, workers, log
        self._due: asyncio.TimerHandle | None = None
        self._failing = False

    def note(self, req: Request, resp: Response) -> None:
        """Of whoever was let in; who was not is in the log only, or guessers would push out what matters."""
        caller: Caller | None = getattr(req.context, "caller", None)
        route: Route | None = getattr(req.context, "route", None)
        if caller is None or route is None or route.open or req.method in ("GET", "HEAD", "OPTIONS"):
            return
        entry = AuditEntry(
            at_s=time.time(),
            by=caller.name,
            role=caller.role,
            source="local" if req.scope[VISIT].local else str(req.remote_addr),
            action=f"{req.method} {req.path.removeprefix('/api/v1')}"[:RESULT_MAX],
            args=shown(getattr(req.context, "args", {}), free=route.free),
            status=resp.status_code,
            result=_sentence(resp.data),
            request_id=req.context.id,
        )
        self.add(entry)

    def add(self, entry: AuditEntry) -> None:
        self._audit.note(entry)
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(GATHER_S, self._write)

    def _write(self) -> None:
        self._workers.run(self._audit.flush).add_done_callback(self._written)

    def _written(self, done: asyncio.Future[None]) -> None:
        self._due = None
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self._due = asyncio.get_running_loop().call_later(AGAIN_S, self._write)
            if not self._failing:
                self._log.error("the audit log cannot be written; it waits", exc_info=error)
        self._failing = error is not None


def shown(args: Mapping[str, Any], *, free: bool = False) -> str:
    """Parameters as an auditor may see them: no secrets, no whole definitions. `free` ones are a plugin's own."""
    return " ".join(f"{name}={_shown(name, value, free)}" for name, value in args.items() if _said(value))


def _said(value: Any) -> bool:
    return value is not None and value is not False and value != "" and value != []


def _shown(name: str, value: Any, free: bool) -> str:
    if (free and name != "node") or any(word in name for word in _SECRET):
        return "***"
    if isinstance(value, dict):
        return f"{{{' '.join(f'{key}={_shown(key, one, False)}' for key, one in value.items())}}}"[: 10 * SHOWN_MAX]
    text = str(value)
    if name in ("xml", "cluster_data", "user_data") or len(text) > 10 * SHOWN_MAX:
        return f"({len(text)} characters)"
    return text[:SHOWN_MAX]


def _sentence(body: bytes | None) -> str:
    try:
        found = msgspec.json.decode(body or b"{}")
    except msgspec.MsgspecError:
        return ""
    if not isinstance(found, dict):
        return ""
    message = found.get("message") or (f"task {found['task_id']}" if "task_id" in found else "")
    if isinstance(message, dict):
        message = "; ".join(f"{name}: {why}" for name, why in message.items())
    return str(message)[:RESULT_MAX]
