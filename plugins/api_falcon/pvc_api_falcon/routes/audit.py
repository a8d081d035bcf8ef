"""The audit log as it can be read."""

from __future__ import annotations

import time
from dataclasses import asdict

from marshmallow import Schema

from pvc_api_falcon.fields import text, whole
from pvc_api_falcon.route import Answer, Call, Route, data


class AuditIn(Schema):
    limit = text()
    lines = whole(1, 10_000, load_default=100)


def show_audit(call: Call) -> Answer:
    found = call.services.audit.list(limit=call.args.get("limit"), count=call.args["lines"])
    return data([{"at": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(one.at_s)), **asdict(one)} for one in found])


ROUTES = (
    Route(
        method="GET", path="/audit", does=show_audit, takes=AuditIn, asks=True,
        help="Who changed what, when, from where and with which result, the newest first; limit is about who.",
    ),
)  # fmt: skip
