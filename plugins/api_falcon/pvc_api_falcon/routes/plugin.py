"""Plugins, and the actions only they can do."""

from __future__ import annotations

from marshmallow import Schema

from pvc_api_falcon.fields import text
from pvc_api_falcon.route import Answer, Call, Route, data, started
from pvc_api_falcon.wire.plugin import PluginBody, plugin_body


class RunIn(Schema):
    """`node` for an action that acts on one; all else is the action's own."""

    node = text()


def list_plugins(call: Call) -> Answer:
    return data([plugin_body(plugin) for plugin in call.services.plugins.list()])


def run_action(call: Call) -> Answer:
    args = {name: value for name, value in call.args.items() if name != "node"}
    name, action, node = call.names["plugin"], call.names["action"], call.args.get("node")
    task = call.services.plugins.run(name, action, args, node=node, by=call.by)
    return started(task, call.services.cluster.primary)


ROUTES = (
    Route(
        method="GET", path="/plugin", does=list_plugins, gives=list[PluginBody],
        help="Plugins as the nodes have loaded them.",
    ),
    Route(
        method="POST", path="/plugin/{plugin}/{action}", does=run_action, takes=RunIn, missing=404, task=True,
        free=True, help="Run an action of a plugin; node= names the node if it acts on one.",
    ),
)  # fmt: skip
