"""The plugin's face: its settings and how its frontend is built. Falcon and uvicorn are imported only when it is."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, fields, validate

from pvc_core.contracts.frontend import Frontend
from pvc_core.contracts.plugin import Plugin, PluginContext
from pvc_core.schema.fields import AbsolutePath, Address, Size, below_run, port, whole
from pvc_core.units import MIB


class Tls(Schema):
    """`plugins.api_falcon.tls`: both files in PEM form, readable by the user pvc."""

    certificate = AbsolutePath(required=True)
    key = AbsolutePath(required=True)


class Config(Schema):
    """Section `plugins.api_falcon` of pvc.yaml."""

    listen = Address(load_default="0.0.0.0", metadata={"description": "address to listen at; :: for IPv6 too"})
    port = port(load_default=7370)
    socket = below_run("api.sock", "the connection `local`: who may open it needs no key")
    tls = fields.Nested(Tls, load_default=None, allow_none=True)
    key_required = fields.Boolean(
        load_default=True,
        metadata={"description": "false: whoever reaches the port may do everything (a lab's own network only)"},
    )
    metrics = fields.String(
        load_default="open",
        validate=validate.OneOf(("open", "key", "off")),
        metadata={"description": "/metrics: open to everybody, for who has any key, or off"},
    )
    failed_logins = whole(1, 100_000, "wrong keys from one address within a minute, then it waits", load_default=20)
    workers = whole(1, 512, "threads", load_default=32)
    streams = whole(1, 4096, "followed logs and running downloads at once", load_default=200)
    sessions = whole(0, 1024, "consoles and screens over websocket at once", load_default=32)
    session_idle_s = whole(
        10, 604_800, "one in which nothing is said or typed for so long is closed", load_default=3600
    )
    body_limit = Size(load_default=MIB, metadata={"description": "largest body of a request that is no upload"})


class ApiFalcon(Plugin):
    """Frontend `api_falcon`."""

    name: ClassVar[str] = "api_falcon"
    config_schema: ClassVar[type[Schema]] = Config

    def build_frontend(self, context: PluginContext, services: Any) -> Frontend:
        from pvc_api_falcon.frontend import FalconFrontend
        from pvc_api_falcon.settings import settings_from

        return FalconFrontend(settings_from(context.config), services, context.log)
