"""Networks on the wire: numbers and truths as text, and "None" for what is not there, as PVC's clients expect."""

from __future__ import annotations

from typing import Any

from pvc_core.model.network import Subnet
from pvc_core.services.pictures import NetworkPicture


def network_body(picture: NetworkPicture) -> dict[str, Any]:
    network = picture.network
    return {
        "vni": network.vni,
        "description": network.name,
        "type": network.nettype,
        "mtu": str(picture.mtu),
        "domain": network.domain,
        "name_servers": list(network.name_servers),
        "ip6": {**_family(network.ip6), "dhcp_flag": str(bool(network.ip6.network))},
        "ip4": {
            **_family(network.ip4),
            "dhcp_flag": str(network.ip4.dhcp),
            "dhcp_start": network.ip4.dhcp_start or "None",
            "dhcp_end": network.ip4.dhcp_end or "None",
        },
        "options": network.options,
        "status": picture.status,
    }


def _family(subnet: Subnet) -> dict[str, str]:
    return {"network": subnet.network or "None", "gateway": subnet.gateway or "None"}
