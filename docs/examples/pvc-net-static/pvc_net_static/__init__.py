"""The plugin's face and its definitions half. Pure: what touches the node is in driver.py, imported only when built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from marshmallow import Schema, fields, validate

from pvc_core.contracts import Bridge, Drivers, NetworkCapabilities, NetworkDefinitions, Plugin, PluginContext
from pvc_net_common.options import FilterOptions

HEADERS_BYTES = 50
"""Inner Ethernet 14, VXLAN 8, UDP 8, IPv4 20: what a VXLAN over IPv4 takes of each packet (RFC 7348)."""


class Config(Schema):
    """Section `plugins.net_static` of pvc.yaml."""

    port = fields.Integer(
        load_default=4790,
        validate=validate.Range(1, 65535),
        metadata={"description": "UDP port, not that of managed networks; the same on all nodes"},
    )


class StaticDefinitions(NetworkDefinitions):
    capabilities = NetworkCapabilities(nic_targets=(Bridge,), vni_max=16_777_215, acls=True, anti_spoofing=True)
    network_options = FilterOptions

    def mtu_max(self, host_mtus: Mapping[str, int]) -> int:
        return host_mtus.get("cluster", 1500) - HEADERS_BYTES


class NetStatic(Plugin):
    """Network driver `net_static`."""

    name: ClassVar[str] = "net_static"
    config_schema: ClassVar[type[Schema]] = Config

    @property
    def network(self) -> StaticDefinitions:
        return StaticDefinitions()

    def build_drivers(self, context: PluginContext) -> Drivers:
        from pvc_net_common.filters import Filters
        from pvc_net_static.driver import StaticNetworks

        return Drivers(network=StaticNetworks(context, Filters(context.run, context.clock)))
