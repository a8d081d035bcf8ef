"""The plugin's face: names, schemas and the two halves. The driver half is imported only when it is built."""

from __future__ import annotations

from typing import ClassVar

from marshmallow import Schema, fields, validate

from pvc_core.contracts.plugin import Drivers, Plugin, PluginContext
from pvc_net_vlan.definitions import VlanDefinitions

DEVICE = r"[^/\s:]{1,15}"


class Config(Schema):
    """Section `plugins.net_vlan` of pvc.yaml."""

    trunk = fields.String(
        required=True,
        validate=validate.Regexp(rf"^{DEVICE}$", error="this is no name of a network device"),
        metadata={"description": "the NIC or bond whose switch port carries the VLANs of bridged networks"},
    )
    mtu = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=validate.Range(576, 65535),
        metadata={"description": "bytes that trunk and switches carry; the trunk is set to it; the same on all nodes"},
    )
    tx_offload = fields.Boolean(
        load_default=True,
        metadata={
            "description": "false: checksums of what guests send are made here, for NICs that spoil them in VLANs"
        },
    )


class NetVlan(Plugin):
    """Network driver `net_vlan`."""

    name: ClassVar[str] = "net_vlan"
    config_schema: ClassVar[type[Schema]] = Config

    @property
    def network(self) -> VlanDefinitions:
        return VlanDefinitions(self.config)

    def build_drivers(self, context: PluginContext) -> Drivers:
        from pvc_net_common.filters import Filters
        from pvc_net_vlan.driver import VlanNetworks
        from pvc_net_vlan.kernel import Kernel

        kernel = Kernel(str(self.config["trunk"]), mtu=self.config["mtu"], tx_offload=bool(self.config["tx_offload"]))
        return Drivers(network=VlanNetworks(kernel, Filters(context.run, context.clock)))
