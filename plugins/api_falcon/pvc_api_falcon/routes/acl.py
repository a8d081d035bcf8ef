"""ACLs of a network: what its guests may send ("out", also without a direction) and get ("in")."""

from __future__ import annotations

from marshmallow import Schema

from pvc_api_falcon.fields import LINE_MAX, choice, flag, text, whole
from pvc_api_falcon.route import Answer, Call, Route, data, said
from pvc_api_falcon.wire.network import AclBody
from pvc_core.model.network import Acl, AclDirection
from pvc_core.services.acls import ACLS_MAX, AclPicture

ALL, ONE = "/network/{vni}/acl", "/network/{vni}/acl/{description}"
WAYS = tuple(AclDirection)


class ListIn(Schema):
    limit = text()
    direction = choice("direction", WAYS)
    counters = flag(False)


class OneIn(Schema):
    rule = text(required=True, longest=LINE_MAX)
    direction = choice("direction", WAYS, load_default="out")
    order = whole(0, ACLS_MAX)


class AddIn(OneIn):
    description = text(required=True)


def list_acls(call: Call) -> Answer:
    """With `counters` the nodes are asked, and each ACL has packets and bytes."""
    way = call.args.get("direction")
    found = call.services.acls.list(
        call.names["vni"], call.args.get("limit"), direction=AclDirection(way) if way else None,
        counted=bool(call.args.get("counters")),
    )  # fmt: skip
    return data([acl_body(one) for one in found])


def show_acl(call: Call) -> Answer:
    return data(acl_body(call.services.acls.show(call.names["vni"], call.names["description"])))


def add_acl(call: Call) -> Answer:
    name = call.args["description"] if "description" in call.args else call.names["description"]
    acl = Acl(name=name, direction=AclDirection(call.args["direction"]), rule=call.args["rule"])
    made = call.services.acls.add(call.names["vni"], acl, order=call.args.get("order"), by=call.by)
    return said(f"ACL {made.acl.name} is number {made.order} of direction {made.acl.direction}; nodes load it.")


def remove_acl(call: Call) -> Answer:
    call.services.acls.remove(call.names["vni"], call.names["description"], by=call.by)
    return said(f"ACL {call.names['description']} is removed.")


def acl_body(one: AclPicture) -> AclBody:
    found: AclBody = {
        "order": str(one.order),
        "description": one.acl.name,
        "rule": one.acl.rule,
        "direction": str(one.acl.direction),
    }
    if one.packets is not None:
        found["packets"], found["bytes"] = one.packets, one.bytes or 0
    return found


ROUTES = (
    Route(
        method="GET", path=ALL, does=list_acls, takes=ListIn, asks=True, gives=list[AclBody],
        help="ACLs of a network, in their order.",
    ),
    Route(method="POST", path=ALL, does=add_acl, takes=AddIn, help="Add an ACL; the nodes' nft is asked first."),
    Route(method="GET", path=ONE, does=show_acl, gives=AclBody, help="One ACL."),
    Route(method="POST", path=ONE, does=add_acl, takes=OneIn, help="Add an ACL of that description."),
    Route(method="DELETE", path=ONE, does=remove_acl, missing=404, help="Remove an ACL; those after it move up."),
)  # fmt: skip
