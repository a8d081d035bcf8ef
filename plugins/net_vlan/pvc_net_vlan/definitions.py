"""What net_vlan can do, and how a network says which frames of the trunk are its own. Pure; devices are kernel.py's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields

from pvc_core.contracts.network import NetworkCapabilities, NetworkDefinitions
from pvc_core.contracts.targets import Bridge
from pvc_core.errors import Refused
from pvc_core.model.network import Network
from pvc_net_common.options import FilterOptions

VID_MAX = 4094
"""IEEE 802.1Q: 0 marks frames that carry a priority only, 4095 is reserved."""
ETHERNET_MTU = 1500
UNTAGGED, PRIORITY = "untagged", "priority"


def _check_tag(word: str) -> None:
    if word in (UNTAGGED, PRIORITY) or (word.isdecimal() and 1 <= int(word) <= VID_MAX):
        return
    raise ValidationError(f"{word!r} is none of untagged, priority, or a VLAN's number from 1 to {VID_MAX}")


class VlanOptions(FilterOptions):
    """`option=key=value` of a network."""

    tag = fields.String(
        validate=_check_tag,
        metadata={"description": "the VLAN if it is not the VNI: its number, untagged, or priority (VLAN 0)"},
    )


class VlanDefinitions(NetworkDefinitions):
    """The pure half. `config` is the plugin's section of pvc.yaml."""

    capabilities = NetworkCapabilities(nic_targets=(Bridge,), vni_max=VID_MAX, acls=True, anti_spoofing=True)
    network_options = VlanOptions

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self._config = config or {}

    def mtu_max(self, host_mtus: Mapping[str, int]) -> int:
        """What the trunk is said to carry, else the largest of the hosts' networks, which mostly share it."""
        return int(self._config.get("mtu") or max(host_mtus.values(), default=ETHERNET_MTU))

    def check_beside(self, network: Network, other: Network) -> None:
        """A frame of the trunk can be one network's only."""
        if vid_of(network) == vid_of(other):
            raise Refused(
                f"network {network.ref} would have the same frames of the trunk as {other.ref}: {_called(other)}",
                help="choose another tag, or remove that network",
            )


def _called(network: Network) -> str:
    vid = vid_of(network)
    return "those without a tag" if vid is None else "those with a priority only" if vid == 0 else f"VLAN {vid}"


def vid_of(network: Network) -> int | None:
    """The VLAN of the network's frames on the trunk; 0: with a tag that has a priority only; None: without a tag."""
    word = network.options.get("tag", str(network.vni))
    return None if word == UNTAGGED else 0 if word == PRIORITY else int(word)
