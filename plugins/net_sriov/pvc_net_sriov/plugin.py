"""The plugin's face: names, schemas and the two halves. The driver half is imported only when it is built."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from pvc_core.contracts.actions import Action
from pvc_core.contracts.plugin import Drivers, Plugin, PluginContext
from pvc_net_sriov.actions import ACTIONS
from pvc_net_sriov.definitions import DEVICE, SriovDefinitions

VFS_MAX = 256
"""More than any NIC has: the PCI specification allows 65,535, the functions' numbers here stay readable."""


class Device(Schema):
    """A NIC that is divided."""

    phy = fields.String(
        required=True,
        validate=validate.Regexp(DEVICE, error="this is no name of a network device"),
        metadata={"description": "the NIC: the physical function"},
    )
    vfcount = fields.Integer(
        required=True,
        validate=validate.Range(1, VFS_MAX),
        metadata={"description": "how many virtual functions are made of it"},
    )
    mtu = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=validate.Range(576, 65535),
        metadata={"description": "bytes that NIC and switch carry; the NIC is set to it"},
    )


class Config(Schema):
    """Section `plugins.net_sriov` of pvc.yaml."""

    devices = fields.List(
        fields.Nested(Device),
        load_default=list,
        metadata={"description": "this node's NICs that are divided; the first is for networks that name none"},
    )

    @validates_schema
    def _once(self, data: dict[str, Any], **_more: object) -> None:
        names = [one["phy"] for one in data.get("devices", ())]
        for name in {one for one in names if names.count(one) > 1}:
            raise ValidationError({"devices": [f"{name} is named twice"]})


class NetSriov(Plugin):
    """Network driver `net_sriov`."""

    name: ClassVar[str] = "net_sriov"
    config_schema: ClassVar[type[Schema]] = Config

    @property
    def network(self) -> SriovDefinitions:
        return SriovDefinitions(self.config)

    @property
    def actions(self) -> tuple[Action, ...]:
        return ACTIONS

    def build_drivers(self, context: PluginContext) -> Drivers:
        from pvc_net_sriov.driver import SriovNetworks
        from pvc_net_sriov.functions import Functions
        from pvc_net_sriov.notes import RUN, Notes
        from pvc_net_sriov.settled import Settled

        settled = Settled(context, Functions())
        driver = SriovNetworks(context, settled, Notes(RUN))
        settled.begin()
        actions = {"sriov_list": driver.told, "sriov_set": driver.set_function}
        return Drivers(network=driver, actions=actions, stop=settled.stop)
