"""The cluster as a whole: /, /status, /health."""

from __future__ import annotations

from dataclasses import asdict

from marshmallow import Schema

from pvc_api_falcon.fields import choice, text
from pvc_api_falcon.route import Answer, Call, Route, data, said, started
from pvc_api_falcon.wire.cluster import (
    CheckBody,
    HealthReport,
    MoveBody,
    PrimaryBody,
    StatusBody,
    status_body,
)
from pvc_api_falcon.wire.common import Message
from pvc_core.units import format_duration, parse_duration_s


class MaintenanceIn(Schema):
    state = choice("state", ("true", "false", "True", "False"), required=True)
    for_ = text(data_key="for")
    reason = text()


def show_root(call: Call) -> Answer:
    return said(f"PVC API version 1 of cluster {call.services.cluster.name}")


def show_status(call: Call) -> Answer:
    return data(status_body(call.services))


def set_maintenance(call: Call) -> Answer:
    on = call.args["state"].lower() == "true"
    for_s = parse_duration_s(call.args["for_"]) if call.args.get("for_") else None
    call.services.cluster.set_maintenance(on, by=call.by, for_s=for_s, reason=call.args.get("reason") or "")
    end = f" for {format_duration(for_s)}" if for_s else ""
    return said(f"Maintenance mode is {'on' if on else 'off'}{end}.")


def check(call: Call) -> Answer:
    lines = call.services.check.run()
    wrong = sum(not line.ok for line in lines)
    sentence = "all is well" if not wrong else f"{wrong} of {len(lines)} lines need somebody"
    return data({"ok": not wrong, "lines": [asdict(line) for line in lines], "status": sentence})


def show_primary(call: Call) -> Answer:
    primary = call.services.cluster.primary
    return data({"primary_node": primary}) if primary else Answer(204)


def show_health(call: Call) -> Answer:
    """200 while the picture of the cluster is current, 503 while the store gives no answer."""
    ready = call.services.cluster.fresh
    sentence = "ready" if ready else "the store gives no answer; what is shown is how things were"
    answer = data({"ready": ready, "primary_node": call.services.cluster.primary, "status": sentence})
    return answer if ready else Answer(503, answer.body, {"Retry-After": "2"})


def show_plan(call: Call) -> Answer:
    keys = ("name", "uuid", "source", "target", "why")
    return data([{key: getattr(move, key) for key in keys} for move in call.services.rebalance.plan()])


def run_plan(call: Call) -> Answer:
    return started(call.services.rebalance.run(by=call.by), call.services.cluster.primary)


ROUTES = (
    Route(
        method="GET", path="/", does=show_root, gives=Message, help="Says that the API is there.", open=True
    ),
    Route(
        method="GET",
        path="/health",
        does=show_health,
        gives=HealthReport,
        help="Whether this API can answer truly (503 if not).",
        open=True,
    ),
    Route(
        method="GET", path="/status", does=show_status, gives=StatusBody,
        help="The cluster's health, counts and resources.",
    ),
    Route(
        method="POST", path="/status", does=set_maintenance, takes=MaintenanceIn,
        help="Maintenance mode on or off; for=2h lets it end by itself.",
    ),
    Route(
        method="GET", path="/cluster/rebalance", does=show_plan, gives=list[MoveBody],
        help="Which VMs a rebalance would move, and why.",
    ),
    Route(method="POST", path="/cluster/rebalance", does=run_plan, task=True, help="Move them."),
    Route(
        method="GET", path="/cluster/check", does=check, asks=True, gives=CheckBody,
        help="Asks every node about itself and its ways to the others; each finding has its remedy.",
    ),
    Route(
        method="GET", path="/status/primary_node", does=show_primary, gives=PrimaryBody, open=True,
        help="The primary; 204 when none.",
    ),
)  # fmt: skip
