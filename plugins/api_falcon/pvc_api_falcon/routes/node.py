"""Nodes: look at them, ask one to give up its guests or to take some again, read its log."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from marshmallow import Schema

from pvc_api_falcon.fields import choice, flag, lines, text
from pvc_api_falcon.route import Answer, Call, Route, Streamed, data, said, started
from pvc_api_falcon.settings import BASE
from pvc_api_falcon.wire.node import (
    CoordinatorStateBody,
    DaemonStateBody,
    DomainStateBody,
    FenceTestBody,
    NodeBody,
    WhyBody,
    fence_test_body,
    node_body,
)
from pvc_api_falcon.wire.vm import TextBody
from pvc_core.model.node import CoordinatorState
from pvc_core.services.nodes import NodeFilter


class ListIn(Schema):
    limit = text()
    daemon_state = text()
    coordinator_state = text()
    domain_state = text()


class CoordinatorIn(Schema):
    state = choice("state", ("primary", "secondary"), required=True)


class DomainIn(Schema):
    state = choice("state", ("ready", "flush"), required=True)
    wait = flag()


class LogIn(Schema):
    lines = lines()
    follow = flag()


class RemoveIn(Schema):
    confirm = flag()


ROLE_WORDS = {
    CoordinatorState.CLIENT: "is a hypervisor and has no part in the primary's role",
    CoordinatorState.SECONDARY: "is a secondary coordinator",
    CoordinatorState.PRIMARY: "is the primary coordinator",
    CoordinatorState.TAKEOVER: "is taking over as the primary coordinator",
    CoordinatorState.RELINQUISH: "is handing the role of primary coordinator on",
}


def list_nodes(call: Call) -> Answer:
    return data([node_body(node) for node in call.services.nodes.list(NodeFilter(**call.args))])


def show_node(call: Call) -> Answer:
    return data([node_body(call.services.nodes.get(call.names["node"]))])


def why(call: Call) -> Answer:
    name = call.names["node"]
    return data({"name": name, "lines": call.services.why.node(name)})


def show_daemon_state(call: Call) -> Answer:
    return _part(call, "daemon_state")


def show_coordinator_state(call: Call) -> Answer:
    return _part(call, "coordinator_state")


def show_domain_state(call: Call) -> Answer:
    return _part(call, "domain_state")


def set_coordinator_state(call: Call) -> Answer:
    node = call.services.nodes.set_coordinator_state(call.names["node"], call.args["state"], by=call.by)
    return said(f"Node {node.seen.name} {ROLE_WORDS[node.coordinator_state]}.")


def set_domain_state(call: Call) -> Answer:
    name, wait = call.names["node"], call.args["wait"]
    if call.args["state"] == "flush":
        task = call.services.nodes.flush(name, by=call.by, wait=wait)
        sentence = f"Node {name} {'has given up' if wait else 'gives up'} its VMs and takes no more."
    else:
        task = call.services.nodes.ready(name, by=call.by, wait=wait)
        sentence = f"Node {name} takes VMs{'' if wait else ' as soon as it is ready'}."
    return replace(said(sentence), headers={"Location": f"{BASE}/tasks/{task.id}"})


def remove_node(call: Call) -> Answer:
    task = call.services.nodes.remove(call.names["node"], by=call.by, confirm=call.args["confirm"])
    return started(task, call.services.cluster.primary)


def vouch(call: Call) -> Answer:
    word = call.services.nodes.vouch(call.names["node"], by=call.by, confirm=call.args["confirm"])
    first = call.services.nodes.awaited(word)
    return said(f"On record, as said by {word.by}: {word.words}." + (f" {first}." if first else ""))


def test_fencing(call: Call) -> Answer:
    return data(fence_test_body(call.names["node"], call.services.fencing.test(call.names["node"])))


def show_log(call: Call) -> Answer | Streamed:
    name, count = call.names["node"], call.args["lines"]
    if call.args["follow"]:
        return Streamed(call.services.nodes.follow_log(name, count))
    return data({"name": name, "data": call.services.nodes.log(name, count)})


def _part(call: Call, key: str) -> Answer:
    body: dict[str, Any] = {**node_body(call.services.nodes.get(call.names["node"]))}
    return data({"name": body["name"], key: body[key], "status": body["status"]})


ROUTES = (
    Route(
        method="GET", path="/node", does=list_nodes, takes=ListIn, gives=list[NodeBody],
        help="Nodes; all filters given must hold.",
    ),
    Route(
        method="GET", path="/node/{node}", does=show_node, gives=list[NodeBody], help="One node, as a list of one."
    ),
    Route(
        method="DELETE", path="/node/{node}", does=remove_node, takes=RemoveIn, missing=404, task=True,
        help="Forget it; confirm=true vouches that the machine is off for good.",
    ),
    Route(
        method="GET", path="/node/{node}/why", does=why, asks=True, gives=WhyBody,
        help="Why it is in its state, what it waits for, what cannot leave it.",
    ),
    Route(
        method="GET", path="/node/{node}/daemon-state", does=show_daemon_state, gives=DaemonStateBody,
        help="State of its daemon.",
    ),
    Route(
        method="GET", path="/node/{node}/coordinator-state", does=show_coordinator_state, gives=CoordinatorStateBody,
        help="Primary or not.",
    ),
    Route(
        method="POST", path="/node/{node}/coordinator-state", does=set_coordinator_state, takes=CoordinatorIn,
        help="Ask it to become primary, or to let another be.",
    ),
    Route(
        method="GET", path="/node/{node}/domain-state", does=show_domain_state, gives=DomainStateBody,
        help="Whether it takes VMs.",
    ),
    Route(
        method="POST", path="/node/{node}/domain-state", does=set_domain_state, takes=DomainIn,
        help="Flush it, or make it ready; wait=true answers when that is done. Location names its task.",
    ),
    Route(
        method="POST", path="/node/{node}/fence", does=vouch, takes=RemoveIn, missing=404,
        help="confirm=true vouches that a person has switched it off: its guests start elsewhere.",
    ),
    Route(
        method="POST", path="/node/{node}/fence-test", does=test_fencing, missing=404, gives=FenceTestBody,
        help="Could it be fenced? Every coordinator tries all but the act.",
    ),
    Route(
        method="GET", path="/node/{node}/log", does=show_log, takes=LogIn, asks=True, gives=TextBody,
        help="The last lines of its daemons' log; follow=true streams what comes after them.",
    ),
)  # fmt: skip
