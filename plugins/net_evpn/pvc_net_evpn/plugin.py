"""The plugin's face: names, schemas and the two halves. The driver half is imported only when it is built."""

from __future__ import annotations

from typing import ClassVar

from marshmallow import Schema, fields, validate

from pvc_core.contracts.plugin import Drivers, Plugin, PluginContext
from pvc_net_evpn.definitions import EvpnDefinitions

ASN_MAX = 4_294_967_294
"""RFC 6793; the one above is reserved (RFC 7300)."""


class Config(Schema):
    """Section `plugins.net_evpn` of pvc.yaml."""

    asn = fields.Integer(
        load_default=65000,
        validate=validate.Range(1, ASN_MAX),
        metadata={"description": "the autonomous system of all nodes; the same on all of them"},
    )


class NetEvpn(Plugin):
    """Network driver `net_evpn`."""

    name: ClassVar[str] = "net_evpn"
    config_schema: ClassVar[type[Schema]] = Config

    @property
    def network(self) -> EvpnDefinitions:
        return EvpnDefinitions()

    def build_drivers(self, context: PluginContext) -> Drivers:
        from pvc_net_evpn.driver import EvpnNetworks
        from pvc_net_evpn.fabric import Fabric
        from pvc_net_evpn.kernel import Kernel

        fabric = Fabric(context)
        return Drivers(network=EvpnNetworks(fabric, Kernel()), stop=fabric.stop)
