"""Physical and virtual functions of NICs on the wire; values are text, as PVC 1.0 has them."""

from __future__ import annotations

from typing import Annotated, TypedDict

from msgspec import Meta


class PfBody(TypedDict):
    """A NIC that is divided."""

    phy: Annotated[str, Meta(description="its network device")]
    mtu: str
    vfs: Annotated[list[str], Meta(description="its virtual functions")]


class VfConfig(TypedDict):
    vlan_id: Annotated[str, Meta(description="0 for none")]
    vlan_qos: str
    tx_rate_min: Annotated[str, Meta(description="in Mbit/s")]
    tx_rate_max: Annotated[str, Meta(description="in Mbit/s; 0 for no limit")]
    link_state: Annotated[str, Meta(description="auto, enable or disable")]
    spoof_check: Annotated[str, Meta(description='"True" or "False"')]
    trust: Annotated[str, Meta(description='"True" or "False"')]
    query_rss: Annotated[str, Meta(description='"True" or "False"')]


class VfPci(TypedDict):
    domain: str
    bus: str
    slot: str
    function: str


class VfUsage(TypedDict):
    used: Annotated[str, Meta(description='"True" or "False"')]
    domain: Annotated[str, Meta(description='the VM; "" when it is not known')]


class VfBody(TypedDict):
    """A piece of a NIC, which one guest can have."""

    phy: Annotated[str, Meta(description="its network device, or what that would be called")]
    pf: str
    mtu: str
    mac: str
    config: VfConfig
    pci: VfPci
    usage: VfUsage


class Functions(TypedDict):
    """What a plugin's action `sriov_list` tells."""

    pfs: list[PfBody]
    vfs: list[VfBody]
