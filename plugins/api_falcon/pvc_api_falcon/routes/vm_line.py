"""Tickets for a VM's serial console and screen over websocket. What happens on the websocket is sessions.py's."""

from __future__ import annotations

from marshmallow import Schema

from pvc_api_falcon.errors import NoSocket
from pvc_api_falcon.fields import flag, lines, text
from pvc_api_falcon.route import BYTES, Answer, Call, Handler, Route, data
from pvc_api_falcon.settings import BASE
from pvc_api_falcon.tickets import VALID_S
from pvc_api_falcon.wire.vm import TicketBody
from pvc_core.services.keys import seal_of

LOOKERS = ("read-only",)
"""Roles that may look and not type."""


class TicketIn(Schema):
    look = flag()


class ConsoleIn(Schema):
    ticket = text(required=True)
    lines = lines(0)


class ScreenIn(Schema):
    ticket = text(required=True)


def ticket_for(kind: str) -> Handler:
    def give(call: Call) -> Answer:
        vm = call.services.vms.get(call.names["vm"])
        may_type = call.role not in LOOKERS and not call.args["look"]
        seal = seal_of(call.services.desk.view, call.by)
        ticket = call.tickets.keep(
            kind=kind, uuid=vm.wanted.uuid, by=call.by, role=call.role, seal=seal, may_type=may_type
        )
        path = f"{BASE}/vm/{vm.wanted.uuid}/{kind}/ws?ticket={ticket}"
        message = f"A ticket for the {kind} of VM {vm.wanted.name}, good once within {VALID_S} s."
        body: TicketBody = {
            "message": message, "ticket": ticket, "path": path, "valid_s": VALID_S, "may_type": may_type,
        }  # fmt: skip
        return data(body)

    return give


def only_a_socket(call: Call) -> Answer:
    """For whoever asks with plain HTTP."""
    raise NoSocket(
        "this path is a websocket, and this request does not ask for one",
        help="open it with ws:// or wss:// and a ticket; docs/api.md tells how",
    )


ROUTES = (
    Route(
        method="POST", path="/vm/{vm}/console/ticket", does=ticket_for("console"), takes=TicketIn,
        gives=TicketBody, missing=404,
        help="A ticket for its serial console, good once; look=true (and read-only keys) may not type.",
    ),
    Route(
        method="GET", path="/vm/{vm}/console/ws", does=only_a_socket, takes=ConsoleIn, open=True, socket=True,
        content_type=BYTES,
        help="Its serial console as a websocket of binary messages, both ways; needs a ticket.",
    ),
    Route(
        method="POST", path="/vm/{vm}/vnc/ticket", does=ticket_for("vnc"), takes=TicketIn,
        gives=TicketBody, missing=404,
        help="A ticket for its screen, good once; look=true (and read-only keys) may neither type nor click.",
    ),
    Route(
        method="GET", path="/vm/{vm}/vnc/ws", does=only_a_socket, takes=ScreenIn, open=True, socket=True,
        content_type=BYTES,
        help="Its screen as a websocket of binary messages that carry RFB, as noVNC does; needs a ticket.",
    ),
)  # fmt: skip
