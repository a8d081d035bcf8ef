"""Faults: /faults and /faults/<id>."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter

from marshmallow import Schema

from pvc_api_falcon.fields import choice
from pvc_api_falcon.route import Answer, Call, Route, data, said
from pvc_api_falcon.wire.fault import SORT_KEYS, FaultBody, fault_body
from pvc_core.errors import Conflict, NotFound
from pvc_core.model.fault import Fault


class FaultsIn(Schema):
    sort_key = choice("sort_key", SORT_KEYS)


def list_faults(call: Call) -> Answer:
    bodies = [fault_body(fault) for fault in call.services.faults.list()]
    if key := call.args.get("sort_key"):
        bodies.sort(key=itemgetter(key))
    return data(bodies)


def show(call: Call) -> Answer:
    return data([fault_body(call.services.faults.get(call.names["fault_id"]))])


def ack(call: Call) -> Answer:
    call.services.faults.ack(call.names["fault_id"])
    return said(f"Fault {call.names['fault_id']} is acknowledged.")


def delete(call: Call) -> Answer:
    call.services.faults.delete(call.names["fault_id"])
    return said(f"Fault {call.names['fault_id']} is deleted.")


def ack_all(call: Call) -> Answer:
    faults = [fault for fault in call.services.faults.list() if not fault.acked_s]
    return said(f"{_each(call.services.faults.ack, faults)} faults are acknowledged.")


def delete_all(call: Call) -> Answer:
    return said(f"{_each(call.services.faults.delete, call.services.faults.list())} faults are deleted.")


def _each(act: Callable[[str], None], faults: Iterable[Fault]) -> int:
    """One that is over meanwhile, or has changed, is left to the next request."""
    done = 0
    for fault in faults:
        try:
            act(fault.id)
        except (Conflict, NotFound):
            continue
        done += 1
    return done


ROUTES = (
    Route(
        method="GET",
        path="/faults",
        does=list_faults,
        takes=FaultsIn,
        gives=list[FaultBody],
        help="What is wrong, the newest first.",
    ),
    Route(method="PUT", path="/faults", does=ack_all, help="Acknowledge all: they weigh nothing any more."),
    Route(method="DELETE", path="/faults", does=delete_all, help="Delete all; what is still so comes back."),
    Route(
        method="GET", path="/faults/{fault_id}", does=show, gives=list[FaultBody], help="One fault, as a list of one."
    ),
    Route(method="PUT", path="/faults/{fault_id}", does=ack, help="Acknowledge it."),
    Route(method="DELETE", path="/faults/{fault_id}", does=delete, help="Delete it; it comes back if it is still so."),
)
