"""The plugin's face: names, schemas and the two halves. The driver half is imported only when it is built."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from pvc_core.contracts.plugin import Drivers, Plugin, PluginContext
from pvc_net_evpn.definitions import EvpnDefinitions
from pvc_net_evpn.upstream import ASN_MAX, UpstreamSchema


class Config(Schema):
    """Section `plugins.net_evpn` of pvc.yaml."""

    asn = fields.Integer(
        load_default=65000,
        validate=validate.Range(1, ASN_MAX),
        metadata={"description": "the autonomous system of all nodes; the same on all of them"},
    )
    dns_name = fields.String(
        load_default="",
        metadata={"description": "the name this cluster's DNS server has upstream, for NS and SOA records"},
    )
    dns_transfer = fields.List(
        fields.IP(),
        load_default=list,
        metadata={"description": "addresses of those who may copy whole zones (AXFR) from the floating address"},
    )
    tftp_root = fields.String(
        load_default="",
        metadata={"description": "a directory on every coordinator that guests booting from the network load from"},
    )

    upstream_peers = fields.List(
        fields.Nested(UpstreamSchema),
        load_default=list,
        metadata={"description": "routers of upstream that coordinators tell of managed networks, by BGP"},
    )

    @validates_schema
    def _others(self, data: dict[str, Any], **_: Any) -> None:
        seen: set[str] = set()
        for one in data["upstream_peers"]:
            if one["asn"] == data["asn"]:
                raise ValidationError(
                    f"the peer {one['address']} has this cluster's own autonomous system {one['asn']}; "
                    "give one of them another",
                    "upstream_peers",
                )
            if one["address"] in seen:
                raise ValidationError(f"the peer {one['address']} is there twice", "upstream_peers")
            seen.add(one["address"])

    @post_load
    def plain(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**data, "dns_transfer": [str(address) for address in data["dns_transfer"]]}


class NetEvpn(Plugin):
    """Network driver `net_evpn`."""

    name: ClassVar[str] = "net_evpn"
    config_schema: ClassVar[type[Schema]] = Config

    @property
    def network(self) -> EvpnDefinitions:
        return EvpnDefinitions()

    def build_drivers(self, context: PluginContext) -> Drivers:
        from pvc_net_common.filters import Filters
        from pvc_net_evpn.driver import EvpnNetworks
        from pvc_net_evpn.fabric import RUN, Fabric
        from pvc_net_evpn.gateway import Gateways
        from pvc_net_evpn.kernel import Kernel
        from pvc_net_evpn.router import Router

        kernel = Kernel()
        fabric = Fabric(context, kernel)
        router = Router(context, kernel, Gateways(), local=fabric.local, run=RUN)

        def stop() -> None:
            router.stop()
            fabric.stop()

        return Drivers(network=EvpnNetworks(fabric, kernel, router, Filters(context.run, context.clock)), stop=stop)
