"""Physical and virtual functions as text."""

from __future__ import annotations

from typing import Any

from pvc_cli.output import Output
from pvc_cli.tables import Column, facts, table

PHYSICAL = (
    Column("NIC", lambda p: p["phy"]),
    Column("MTU", lambda p: p["mtu"], right=True),
    Column("Functions", lambda p: ", ".join(p["vfs"])),
)
VIRTUAL = (
    Column("Function", lambda v: v["phy"]),
    Column("NIC", lambda v: v["pf"]),
    Column("MTU", lambda v: v["mtu"], right=True),
    Column("MAC", lambda v: v["mac"]),
    Column("VLAN", lambda v: v["config"]["vlan_id"], right=True),
    Column("PCI", lambda v: pci(v)),
    Column("Used by", lambda v: user(v)),
)
WORDS = {
    "vlan_id": "VLAN",
    "vlan_qos": "VLAN priority",
    "tx_rate_min": "Least rate (Mbit/s)",
    "tx_rate_max": "Largest rate (Mbit/s)",
    "link_state": "Link state",
    "spoof_check": "Spoof check",
    "trust": "Trust",
    "query_rss": "RSS queries",
}


def pf_list(out: Output, found: list[dict[str, Any]]) -> str:
    return table(out, PHYSICAL, found, empty="This node divides no NIC.")


def vf_list(out: Output, found: list[dict[str, Any]]) -> str:
    return table(out, VIRTUAL, found, empty="This node has no virtual function.")


def vf_info(out: Output, one: dict[str, Any]) -> str:
    rows = [("Function", one["phy"]), ("NIC", one["pf"]), ("MTU", one["mtu"]), ("MAC", one["mac"]), ("PCI", pci(one))]
    rows += [(word, one["config"][name]) for name, word in WORDS.items()]
    return facts([*rows, ("Used by", user(one) or "-")])


def pci(one: dict[str, Any]) -> str:
    place = one["pci"]
    return f"{place['domain']}:{place['bus']}:{place['slot']}.{place['function']}"


def user(one: dict[str, Any]) -> str:
    if one["usage"]["used"] != "True":
        return ""
    return str(one["usage"]["domain"] or "somebody")
