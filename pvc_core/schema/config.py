# SPDX-License-Identifier: LGPL-3.0-or-later
"""The shape of pvc.yaml, key by key. What several keys must be together is in config/rules.py; plugins.NAME belongs to
the plugin's own schema and is only checked here to be a mapping.
"""

from __future__ import annotations

import re
from typing import Any

from marshmallow import Schema, ValidationError, fields, pre_load, validate

from pvc_core.schema.fields import AbsolutePath, Address, Cidr, Device, Name, port, seconds, whole
from pvc_core.schema.intervals import INTERVAL_PROFILES, INTERVALS

PLUGIN_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PLUGIN_ALLOWED = "a plugin's name: small letters, digits and '_'"


def _odd_number_of_coordinators(names: list[str]) -> None:
    if len(names) in (1, 3, 5):
        return
    if names and len(names) % 2 == 0:
        raise ValidationError(
            f"an even number of coordinators is refused: a majority must be left, so {len(names)} survive the loss"
            f" of no more than {len(names) - 1} do, and there is one more that can fail; name 1, 3 or 5"
        )
    raise ValidationError("name 1, 3 or 5 coordinators")


def _plugin_name(**kwargs: Any) -> fields.String:
    return fields.String(
        validate=validate.Regexp(PLUGIN_NAME.pattern + r"\Z"), metadata={"allowed": _PLUGIN_ALLOWED}, **kwargs
    )


class ClusterSchema(Schema):
    name = Name(required=True)
    coordinators = fields.List(
        Name(),
        required=True,
        validate=_odd_number_of_coordinators,
        metadata={"allowed": "a list of 1, 3 or 5 node names"},
    )
    parallel_migrations = whole(1, 64, "migrations", load_default=2)


class EmbeddedSchema(Schema):
    port = port(load_default=2181)
    path = AbsolutePath()


class ZookeeperSchema(Schema):
    port = port(load_default=2181)
    tls = fields.Boolean(load_default=True)


class StoreSchema(Schema):
    """Exactly one of them; config/rules.py says so."""

    embedded = fields.Nested(EmbeddedSchema)
    zookeeper = fields.Nested(ZookeeperSchema)


class HostNetworkSchema(Schema):
    device = Device(required=True)
    address = Cidr()
    floating = Cidr()
    gateway = Address()
    mtu = whole(576, 9216, "bytes")


class HostNetworksSchema(Schema):
    upstream = fields.Nested(HostNetworkSchema)
    cluster = fields.Nested(HostNetworkSchema)
    storage = fields.Nested(HostNetworkSchema)


class DefaultPoolSchema(Schema):
    name = Name(required=True)
    driver = _plugin_name(required=True)


class UseSchema(Schema):
    compute = _plugin_name()
    networks = fields.Dict(
        keys=Name(),
        values=_plugin_name(),
        load_default=dict,
        metadata={"allowed": "a mapping from a network type to the plugin that makes it"},
    )
    default_pool = fields.Nested(DefaultPoolSchema)


class FencingSchema(Schema):
    ladder = fields.List(_plugin_name(), load_default=list, metadata={"allowed": "a list of plugins, tried together"})
    proof = fields.String(load_default="one", validate=validate.OneOf(["one", "all"]))


def _interval(key: str) -> fields.Float:
    least, most, default = INTERVALS[key]
    return seconds(least, most, load_default=default)


class IntervalsSchema(Schema):
    profile = fields.String(load_default="default", validate=validate.OneOf(list(INTERVAL_PROFILES)))
    heartbeat_s = _interval("heartbeat_s")
    suspicion_s = _interval("suspicion_s")
    self_fence_s = _interval("self_fence_s")
    promise_s = _interval("promise_s")
    sick_s = _interval("sick_s")
    boot_grace_s = _interval("boot_grace_s")
    reset = fields.Boolean(load_default=False)

    @pre_load
    def _of_profile(self, data: Any, **_: Any) -> Any:
        named = data.get("profile") if isinstance(data, dict) else None
        return {**INTERVAL_PROFILES[named], **data} if named in list(INTERVAL_PROFILES) else data


class PeerSchema(Schema):
    guard_port = port(load_default=7372)
    port = port(load_default=7371)


class PathsSchema(Schema):
    state = AbsolutePath()
    run = AbsolutePath()
    secrets = AbsolutePath()
    log = AbsolutePath()


class ConfigSchema(Schema):
    """All of pvc.yaml."""

    cluster = fields.Nested(ClusterSchema, required=True)
    store = fields.Nested(StoreSchema, required=True)
    host_networks = fields.Nested(HostNetworksSchema)
    plugins = fields.Dict(
        keys=_plugin_name(),
        values=fields.Dict(allow_none=True, metadata={"allowed": "a mapping with the plugin's settings, {} for none"}),
        required=True,
        metadata={"allowed": "a mapping from a plugin's name to its settings"},
    )
    use = fields.Nested(UseSchema)
    fencing = fields.Nested(FencingSchema)
    intervals = fields.Nested(IntervalsSchema)
    peer = fields.Nested(PeerSchema)
    paths = fields.Nested(PathsSchema)
