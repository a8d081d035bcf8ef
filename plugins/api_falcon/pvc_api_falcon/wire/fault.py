"""Faults on the wire."""

from __future__ import annotations

import time
from typing import Annotated, Literal, TypedDict

from msgspec import Meta

from pvc_api_falcon.wire.common import UtcTime
from pvc_core.model.fault import Fault

SORT_KEYS = ("first_reported", "last_reported", "acknowledged_at", "status", "health_delta", "message")


class FaultBody(TypedDict):
    """Something that is wrong now."""

    id: str
    last_reported: UtcTime
    first_reported: UtcTime
    acknowledged_at: UtcTime
    status: Literal["new", "ack"]
    health_delta: Annotated[int, Meta(description="how many of 100 points of health it costs the cluster")]
    message: str


def fault_body(fault: Fault) -> FaultBody:
    return {
        "id": fault.id,
        "last_reported": _time(fault.last_s),
        "first_reported": _time(fault.first_s),
        "acknowledged_at": _time(fault.acked_s),
        "status": "ack" if fault.acked_s else "new",
        "health_delta": fault.counts,
        "message": fault.message,
    }


def _time(at_s: float) -> str:
    """UTC, "" for never."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_s)) if at_s else ""
