"""A plugin on the wire."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from msgspec import Meta

from pvc_api_falcon.wire.common import Object
from pvc_core.model.node import PluginSeen


class ActionBody(TypedDict):
    name: str
    help: str
    where: Annotated[str, Meta(description='"node" or "primary"')]


class PluginBody(Object):
    name: str
    distribution: str
    version: str
    api_range: Annotated[list[int], Meta(min_length=2, max_length=2, description="lowest and highest")]
    state: str
    reason: str
    roles: list[str]
    capabilities: dict[str, Any]
    actions: list[ActionBody]


def plugin_body(plugin: PluginSeen) -> PluginBody:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "api_range": [plugin.api_low, plugin.api_high],
        "state": plugin.state,
        "reason": plugin.reason,
        "roles": list(plugin.roles),
        "capabilities": plugin.capabilities,
        "actions": [{"name": one.name, "help": one.help, "where": one.where} for one in plugin.actions],
        "status": plugin.reason or plugin.state,
    }
