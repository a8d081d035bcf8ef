"""The plugin's face: its settings, which pvcguard reads straight from pvc.yaml (pvc_core/guard/settings.py has the same
defaults). It is no rung of the ladder: nobody can ask a watchdog whether it has bitten, time must pass.
"""

from __future__ import annotations

from typing import ClassVar

from marshmallow import Schema

from pvc_core.contracts.plugin import Drivers, Plugin, PluginContext
from pvc_core.schema.fields import AbsolutePath, whole


class Config(Schema):
    """Section `plugins.fence_watchdog` of pvc.yaml: this node's own watchdog."""

    device = AbsolutePath(load_default="/dev/watchdog")
    timeout_s = whole(2, 60, "seconds", load_default=5)


class FenceWatchdog(Plugin):
    """Named in pvc.yaml, the guard arms the watchdog and says so in each heartbeat."""

    name: ClassVar[str] = "fence_watchdog"
    config_schema: ClassVar[type[Schema]] = Config

    def build_drivers(self, context: PluginContext) -> Drivers:
        return Drivers()
