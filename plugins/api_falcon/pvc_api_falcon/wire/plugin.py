"""A plugin on the wire."""

from __future__ import annotations

from typing import Any

from pvc_core.model.node import PluginSeen


def plugin_body(plugin: PluginSeen) -> dict[str, Any]:
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
