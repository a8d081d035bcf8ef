"""The plugin's face: its settings and the two halves. The driver half is imported only when it is built."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from pvc_core.contracts.fence import FenceCapabilities, FenceDefinitions
from pvc_core.contracts.plugin import Drivers, Plugin, PluginContext
from pvc_core.schema.fields import AbsolutePath, port, seconds, whole

USER_BYTES = 16
"""IPMI 2.0, section 22.28."""
NEEDED = ("address", "user", "password_file")


def _no_option(text: str) -> None:
    if text.startswith("-") or any(letter.isspace() for letter in text):
        raise ValidationError("it must not begin with '-', nor hold white space")


def _uuid(text: str) -> None:
    try:
        UUID(text)
    except ValueError:
        raise ValidationError("it is no UUID") from None


class Config(Schema):
    """Section `plugins.fence_ipmi` of pvc.yaml: the BMC of this very node. Without an address the node has none."""

    address = fields.String(
        validate=[validate.Length(1, 253), _no_option], metadata={"allowed": "the address of this node's BMC"}
    )
    port = port(load_default=623)
    user = fields.String(
        validate=[validate.Length(1, USER_BYTES), _no_option],
        metadata={"allowed": "a user of the BMC, up to 16 letters"},
    )
    password_file = AbsolutePath()
    cipher_suites = fields.List(
        whole(1, 17),
        load_default=lambda: [17, 3],
        validate=validate.Length(1, 8),
        metadata={"allowed": "a list of IPMI cipher suites, tried in this order, like [17, 3]"},
    )
    power_on = fields.Boolean(load_default=True)
    uuid = fields.String(
        load_default="", validate=_uuid, metadata={"allowed": "what the BMC calls itself, where that is not the UUID"}
    )
    deadline_s = seconds(1, 120, load_default=10.0)

    @validates_schema(skip_on_field_errors=False)
    def _whole_or_nothing(self, data: dict[str, Any], **_: Any) -> None:
        given = [name for name in NEEDED if name in data]
        if given and len(given) < len(NEEDED):
            raise ValidationError({name: ["Missing data for required field."] for name in NEEDED if name not in data})


class IpmiDefinitions(FenceDefinitions):
    def __init__(self, deadline_s: float) -> None:
        self.capabilities = FenceCapabilities(power_on=True, deadline_s=deadline_s)


class FenceIpmi(Plugin):
    """Fence driver `fence_ipmi`."""

    name: ClassVar[str] = "fence_ipmi"
    config_schema: ClassVar[type[Schema]] = Config

    @property
    def fence(self) -> IpmiDefinitions:
        return IpmiDefinitions(self.config["deadline_s"])

    def build_drivers(self, context: PluginContext) -> Drivers:
        from pvc_fence_ipmi.driver import IpmiFence

        return Drivers(fence=IpmiFence(context))
