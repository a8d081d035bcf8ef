"""Logging of the daemons: structlog for those who log, the standard library underneath.

kazoo's and uvicorn's records take the same way and look the same (give uvicorn log_config=None). The line is made in
lines.py, the last ones are kept in ring.py, once.py tells a failure once.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from pvc_core.daemon.lines import FIELDS, LineFormatter, setup_lines
from pvc_core.daemon.once import Once
from pvc_core.daemon.ring import LogRing, RingHandler

__all__ = ["LineFormatter", "LogRing", "Once", "setup"]


def setup(*, node: str, level: str = "info", ring: LogRing | None = None) -> LineFormatter:
    """Configure logging of this process; called once, by a main(), before anything logs.

    Every event goes to stderr and to `ring`, if there is one. Tell the returned formatter the secrets this process
    reads (hide()). Use `structlog.get_logger("pvc.NAME")` and bind object="vm/db1", task="1a2b3c4d".
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if ring is not None:
        handlers.append(RingHandler(ring))
    formatter = setup_lines({"node": node}, level=level, handlers=handlers)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            _to_record,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    return formatter


def _to_record(logger: Any, method: str, event: MutableMapping[str, Any]) -> tuple[tuple[str], dict[str, Any]]:
    """structlog's event as the arguments of a standard logger's method."""
    message = str(event.pop("event", ""))
    exc_info = event.pop("exc_info", None)
    event.pop("stack_info", None)
    return (message,), {"exc_info": exc_info, "extra": {FIELDS: dict(event)}}
