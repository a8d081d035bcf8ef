"""What net_sriov can do, and what a network says of its guests' functions. Pure; functions are functions.py's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from pvc_core.contracts.network import NetworkCapabilities, NetworkDefinitions
from pvc_core.contracts.targets import Hostdev, Macvtap
from pvc_core.errors import Invalid
from pvc_core.model.network import Network
from pvc_net_sriov.words import LINK_STATES, QOS_MAX, RATE_MAX, VID_MAX, Settings

DEVICE = r"^[^/\s:]{1,15}$"
ETHERNET_MTU = 1500
UNTAGGED = "untagged"
MACVTAP, HOSTDEV = "macvtap", "hostdev"


def _number(low: int, high: int) -> Any:
    def check(word: str) -> None:
        if not word.isdecimal() or not low <= int(word) <= high:
            raise ValidationError(f"{word!r} is no number from {low} to {high}")

    return check


def _tag(word: str) -> None:
    if word != UNTAGGED:
        _number(1, VID_MAX)(word)


def _text(check: Any, what: str) -> fields.String:
    return fields.String(validate=check, metadata={"description": what})


ON_OFF = validate.OneOf(("on", "off"))


class SriovOptions(Schema):
    """`option=key=value` of a network."""

    pf = _text(validate.Regexp(DEVICE), "the NIC whose functions guests get [each node's first one]")
    tag = _text(_tag, "the VLAN if it is not the VNI: its number, or untagged")
    qos = _text(_number(0, QOS_MAX), "the priority of its frames (IEEE 802.1p) [0]")
    attach = _text(validate.OneOf((MACVTAP, HOSTDEV)), "hostdev: guests have the function whole [macvtap]")
    tx_rate_max = _text(_number(0, RATE_MAX), "the most a guest sends, in Mbit/s; 0 for no limit [0]")
    tx_rate_min = _text(_number(0, RATE_MAX), "what a guest can always send, in Mbit/s [0]")
    link_state = _text(validate.OneOf(LINK_STATES), "whether guests see a link: as the NIC has it, or always, or never")
    spoof_check = _text(ON_OFF, "off: guests may send with any MAC [on]")
    trust = _text(ON_OFF, "on: guests may change the MAC and hear all frames, as far as the NIC allows [off]")


class SriovDefinitions(NetworkDefinitions):
    """The pure half. `config` is the plugin's section of pvc.yaml."""

    capabilities = NetworkCapabilities(nic_targets=(Macvtap, Hostdev), vni_max=16_777_215)
    network_options = SriovOptions

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self._config = config or {}

    def mtu_max(self, host_mtus: Mapping[str, int]) -> int:
        """What the NICs are said to carry, else the largest of the hosts' networks, which mostly share them."""
        said = [int(one["mtu"]) for one in self._config.get("devices", ()) if one.get("mtu")]
        return min(said) if said else max(host_mtus.values(), default=ETHERNET_MTU)

    def check(self, network: Network) -> None:
        if network.vni > VID_MAX and "tag" not in network.options:
            raise _wrong(
                f"{network.vni} is no VLAN, and network {network.ref} says no other",
                f"give tag=NUMBER (1 to {VID_MAX}) or tag=untagged",
            )
        wanted = settings(network)
        if 0 < wanted.tx_rate_max < wanted.tx_rate_min:
            raise _wrong(
                f"guests of network {network.ref} cannot always send {wanted.tx_rate_min} Mbit/s and never more than "
                f"{wanted.tx_rate_max}",
                "choose tx_rate_min below tx_rate_max",
            )


def settings(network: Network) -> Settings:
    """What the functions of its guests are set to."""
    given = network.options
    word = given.get("tag", str(network.vni))
    return Settings(
        vlan_id=0 if word == UNTAGGED else int(word),
        vlan_qos=int(given.get("qos", 0)),
        tx_rate_min=int(given.get("tx_rate_min", 0)),
        tx_rate_max=int(given.get("tx_rate_max", 0)),
        link_state=given.get("link_state", "auto"),
        spoof_check=given.get("spoof_check", "on") == "on",
        trust=given.get("trust", "off") == "on",
    )


def attach(network: Network) -> str:
    return network.options.get("attach", MACVTAP)


def _wrong(message: str, help: str) -> Invalid:
    return Invalid(message, help=help, fields={"option": f"{message}; {help}"})
