"""Networks on the wire: numbers and truths as text, and "None" for what is not there, as PVC's clients expect."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from pvc_api_falcon.wire.common import Object
from pvc_core.model.network import Subnet
from pvc_core.services.pictures import NetworkPicture


class Ip6Body(TypedDict):
    network: Annotated[str, Meta(description='"None" where there is none, as everywhere here')]
    gateway: str
    dhcp_flag: Annotated[str, Meta(description='"True" or "False", as text')]


class Ip4Body(Ip6Body):
    dhcp_start: str
    dhcp_end: str


class NetworkBody(Object):
    """A network for guests."""

    vni: int
    description: Annotated[str, Meta(description="its name")]
    type: Annotated[str, Meta(description="managed, bridged, or another word of use.networks")]
    mtu: Annotated[str, Meta(description="a number, as text")]
    domain: str
    name_servers: list[str]
    ip6: Ip6Body
    ip4: Ip4Body
    options: Annotated[dict[str, Any], Meta(description="its driver's own")]


class LeaseBody(TypedDict):
    """An address that a card of a guest has, or that is reserved for it."""

    hostname: str
    ip4_address: str
    mac_address: str
    timestamp: Annotated[str, Meta(description='seconds since 1970 when it ends, or "static"')]


class AclBody(TypedDict):
    """A rule of a network's ACL; all rules of one direction are tried in their order."""

    order: Annotated[str, Meta(description="a number, as text; from 0")]
    description: Annotated[str, Meta(description="its name")]
    rule: Annotated[str, Meta(description="in nftables' language")]
    direction: Annotated[str, Meta(description="in or out, as the guests see it")]
    packets: NotRequired[Annotated[int, Meta(description="only with counters=true")]]
    bytes: NotRequired[Annotated[int, Meta(description="only with counters=true")]]


def network_body(picture: NetworkPicture) -> NetworkBody:
    network = picture.network
    return {
        "vni": network.vni,
        "description": network.name,
        "type": network.nettype,
        "mtu": str(picture.mtu),
        "domain": network.domain,
        "name_servers": list(network.name_servers),
        "ip6": _family(network.ip6, bool(network.ip6.network)),
        "ip4": {
            **_family(network.ip4, network.ip4.dhcp),
            "dhcp_start": network.ip4.dhcp_start or "None",
            "dhcp_end": network.ip4.dhcp_end or "None",
        },
        "options": network.options,
        "status": picture.status,
    }


def _family(subnet: Subnet, dhcp: bool) -> Ip6Body:
    return {"network": subnet.network or "None", "gateway": subnet.gateway or "None", "dhcp_flag": str(dhcp)}
