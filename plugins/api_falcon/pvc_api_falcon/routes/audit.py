"""The audit log as it can be read."""

from __future__ import annotations

from marshmallow import Schema

from pvc_api_falcon.fields import text, whole
from pvc_api_falcon.route import Answer, Call, Route, data
from pvc_api_falcon.wire.access import AuditBody, audit_body


class AuditIn(Schema):
    limit = text()
    lines = whole(1, 10_000, load_default=100)


def show_audit(call: Call) -> Answer:
    found = call.services.audit.list(limit=call.args.get("limit"), count=call.args["lines"])
    return data([audit_body(one) for one in found])


ROUTES = (
    Route(
        method="GET", path="/audit", does=show_audit, takes=AuditIn, asks=True, gives=list[AuditBody],
        help="Who changed what, when, from where and with which result, the newest first; limit is about who.",
    ),
)  # fmt: skip
