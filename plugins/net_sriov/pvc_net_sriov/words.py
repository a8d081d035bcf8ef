"""A virtual function's settings, as the wire and the kernel call them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VID_MAX, QOS_MAX, RATE_MAX = 4094, 7, 1_000_000
"""IEEE 802.1Q: VLAN and priority, 0 for none; rates in Mbit/s, 0 for as fast as it goes."""
LINK_STATES = ("auto", "enable", "disable")
"""In the kernel's order (IFLA_VF_LINK_STATE_*, linux/if_link.h)."""
NO_MAC = "00:00:00:00:00:00"
"""Given to the NIC for a function, it means: the function's own choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the physical function says of a virtual one."""

    vlan_id: int = 0
    vlan_qos: int = 0
    tx_rate_min: int = 0
    tx_rate_max: int = 0
    link_state: str = "auto"
    spoof_check: bool = True
    trust: bool = False
    query_rss: bool = False


RESTING = Settings()
"""Of a function that nobody uses and nobody has set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Virtual:
    """A virtual function as it is found."""

    name: str
    """Its network device's; where it has none because a guest has it whole, what it would be called: "ens1f0v3"."""
    pf: str
    number: int
    pci: str
    """ "0000:65:10.6"."""
    netdev: str = ""
    mtu: int = 0
    own_mac: str = ""
    """Its network device's; "" where it has none."""
    mac: str = NO_MAC
    """What the physical function gave it."""
    settings: Settings = RESTING
    used: bool = False
    """By a macvtap device, a bridge, or as a whole by a guest."""

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.name, self.netdev or self.name, f"{self.pf}v{self.number}"})

    @property
    def pci_parts(self) -> dict[str, str]:
        domain, bus, rest = self.pci.split(":")
        slot, _, function = rest.partition(".")
        return {"domain": domain, "bus": bus, "slot": slot, "function": function}


def kernel_words(old: Settings, new: Settings) -> list[dict[str, Any]]:
    """netlink's messages that make `old` into `new`: only what differs, because drivers refuse what they lack, even
    when it would change nothing.
    """
    words: list[dict[str, Any]] = []
    if (old.vlan_id, old.vlan_qos) != (new.vlan_id, new.vlan_qos):
        words.append({"vlan": {"vlan": new.vlan_id, "qos": new.vlan_qos}})
    if (old.tx_rate_min, old.tx_rate_max) != (new.tx_rate_min, new.tx_rate_max):
        words.append({"rate": {"min_tx_rate": new.tx_rate_min, "max_tx_rate": new.tx_rate_max}})
    if old.link_state != new.link_state:
        words.append({"link_state": LINK_STATES.index(new.link_state)})
    for name, word in (("spoof_check", "spoofchk"), ("trust", "trust"), ("query_rss", "rss_query_en")):
        if getattr(old, name) != getattr(new, name):
            words.append({word: int(getattr(new, name))})
    return words


def wire(one: Virtual, used_by: str) -> dict[str, Any]:
    """As the API shows it: values as text, as PVC 1.0 keeps them."""
    settings = {name: str(getattr(one.settings, name)) for name in Settings.__slots__}
    return {
        "phy": one.name,
        "pf": one.pf,
        "mtu": str(one.mtu),
        "mac": one.own_mac if one.mac == NO_MAC else one.mac,
        "config": settings,
        "pci": one.pci_parts,
        "usage": {"used": str(one.used), "domain": used_by},
    }


def settings_of(plain: Mapping[str, Any], base: Settings = RESTING) -> Settings:
    known = {name: plain[name] for name in Settings.__slots__ if plain.get(name) is not None}
    return Settings(**{**{name: getattr(base, name) for name in Settings.__slots__}, **known})
