"""Physical and virtual functions of nodes' NICs: thin names for actions of whichever plugin has them.

What a node says is asked of the node itself, so that it is as it is now; one that does not answer is told as such.
"""

from __future__ import annotations

from typing import cast

from marshmallow import Schema

from pvc_api_falcon.fields import choice, flag, text, whole
from pvc_api_falcon.route import Answer, Call, Route, data, said
from pvc_api_falcon.wire.common import Message
from pvc_api_falcon.wire.sriov import Functions, PfBody, VfBody
from pvc_core.errors import NotFound, Refused

ASKED_S = 30.0
LIST, SET = "sriov_list", "sriov_set"


class NodeIn(Schema):
    node = text(required=True)


class NodePfIn(NodeIn):
    pf = text()


class PfIn(Schema):
    pf = text()


class SetIn(Schema):
    vlan_id = whole(0, 4094)
    vlan_qos = whole(0, 7)
    tx_rate_min = whole(0, 1_000_000)
    tx_rate_max = whole(0, 1_000_000)
    link_state = choice("link_state", ("auto", "enable", "disable"))
    spoof_check = flag(None)
    trust = flag(None)
    query_rss = flag(None)


def show(call: Call) -> Answer:
    return said("SR-IOV: physical functions are at /sriov/pf, virtual ones at /sriov/vf, each of one node.")


def list_pf(call: Call) -> Answer:
    return data(_functions(call, call.args["node"])["pfs"])


def list_pf_of(call: Call) -> Answer:
    return data(_functions(call, call.names["node"])["pfs"])


def list_vf(call: Call) -> Answer:
    return data(_virtual(call, call.args["node"]))


def list_vf_of(call: Call) -> Answer:
    return data(_virtual(call, call.names["node"]))


def show_vf(call: Call) -> Answer:
    return data([function_of(call, call.names["node"], call.names["vf"])])


def function_of(call: Call, node: str, name: str) -> VfBody:
    """One virtual function of a node. Raises NotFound."""
    for one in _functions(call, node)["vfs"]:
        if one["phy"] == name:
            return one
    raise NotFound(
        f"node {node} has no virtual function {name!r}", help=f"`pvc network sriov vf list {node}` shows them"
    )


def set_vf(call: Call) -> Answer:
    args = {"vf": call.names["vf"], **{name: value for name, value in call.args.items() if value is not None}}
    plugin = call.services.plugins.who_can(SET)
    task = call.services.plugins.run(plugin, SET, args, node=call.names["node"], by=call.by)
    return said(call.services.tasks.done(task, timeout_s=ASKED_S).status)


def _virtual(call: Call, node: str) -> list[VfBody]:
    wanted = call.args.get("pf")
    return [one for one in _functions(call, node)["vfs"] if wanted in (None, "", one["pf"])]


def _functions(call: Call, node: str) -> Functions:
    """Raises NotFound: no such node. A cluster without such a plugin has no functions."""
    call.services.nodes.get(node)
    try:
        plugin = call.services.plugins.who_can(LIST)
    except Refused:
        return {"pfs": [], "vfs": []}
    task = call.services.plugins.run(plugin, LIST, {}, node=node, by=call.by)
    return cast(Functions, call.services.tasks.done(task, timeout_s=ASKED_S).result)


ROUTES = (
    Route(method="GET", path="/sriov", does=show, gives=Message, help="Says where functions are found."),
    Route(
        method="GET", path="/sriov/pf", does=list_pf, takes=NodeIn, asks=True, gives=list[PfBody],
        help="A node's NICs that are divided.",
    ),
    Route(method="GET", path="/sriov/pf/{node}", does=list_pf_of, asks=True, gives=list[PfBody], help="The same."),
    Route(
        method="GET", path="/sriov/vf", does=list_vf, takes=NodePfIn, asks=True, gives=list[VfBody],
        help="A node's virtual functions.",
    ),
    Route(
        method="GET", path="/sriov/vf/{node}", does=list_vf_of, takes=PfIn, asks=True, gives=list[VfBody],
        help="The same.",
    ),
    Route(
        method="GET", path="/sriov/vf/{node}/{vf}", does=show_vf, asks=True, gives=list[VfBody],
        help="One virtual function, as a list of one.",
    ),
    Route(
        method="PUT", path="/sriov/vf/{node}/{vf}", does=set_vf, takes=SetIn, missing=404,
        help="Set a virtual function that belongs to no guest of a network; it keeps that.",
    ),
)  # fmt: skip
