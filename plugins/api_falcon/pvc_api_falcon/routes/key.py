"""API keys: who has one, with which role. The key itself is told once, when it is made."""

from __future__ import annotations

from marshmallow import Schema

from pvc_api_falcon.fields import choice, text
from pvc_api_falcon.route import Answer, Call, Route, data, said
from pvc_api_falcon.wire.access import KeyBody, NewKey, key_body
from pvc_core.errors import NotFound
from pvc_core.services.keys import ROLES


class AddIn(Schema):
    name = text(required=True)
    role = choice("role", ROLES, required=True)
    description = text(load_default="")


def list_keys(call: Call) -> Answer:
    return data([key_body(key) for key in call.services.keys.list()])


def show_key(call: Call) -> Answer:
    found = [key for key in call.services.keys.list() if key.name == call.names["key"]]
    if not found:
        raise NotFound(f"there is no key {call.names['key']!r}", help="`pvc key list` shows those there are")
    return data([key_body(key) for key in found])


def add_key(call: Call) -> Answer:
    name, role = call.args["name"], call.args["role"]
    key = call.services.keys.add(name, role, description=call.args["description"])
    return data({"message": f"Key {name} has role {role}; it is shown only now.", "name": name, "key": key})


def remove_key(call: Call) -> Answer:
    name = call.names["key"]
    call.services.keys.remove(name)
    return said(f"Key {name} opens nothing any more.")


ROUTES = (
    Route(method="GET", path="/key", does=list_keys, gives=list[KeyBody], help="API keys and their roles."),
    Route(
        method="POST", path="/key", does=add_key, takes=AddIn, gives=NewKey,
        help="Make a key; it is shown in this answer only.",
    ),
    Route(method="GET", path="/key/{key}", does=show_key, gives=list[KeyBody], help="One key, as a list of one."),
    Route(method="DELETE", path="/key/{key}", does=remove_key, missing=404, help="Whoever has it is nobody now."),
)  # fmt: skip
