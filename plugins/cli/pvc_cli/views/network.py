"""Networks as text."""

from __future__ import annotations

import time
from typing import Any

from pvc_cli.output import Output
from pvc_cli.tables import Column, facts, table

NETWORKS = (
    Column("VNI", lambda n: n["vni"], right=True),
    Column("Description", lambda n: n["description"]),
    Column("Type", lambda n: n["type"]),
    Column("MTU", lambda n: n["mtu"], right=True),
    Column("Domain", lambda n: n["domain"]),
    Column("IPv4", lambda n: _shown(n["ip4"]["network"])),
    Column("Gateway", lambda n: _shown(n["ip4"]["gateway"])),
    Column("DHCP", lambda n: _range(n["ip4"])),
    Column("IPv6", lambda n: _shown(n["ip6"]["network"])),
    Column("Status", lambda n: n.get("status", "")),
)


ACLS = (
    Column("Direction", lambda a: a["direction"]),
    Column("Order", lambda a: a["order"], right=True),
    Column("Description", lambda a: a["description"]),
    Column("Rule", lambda a: a["rule"]),
)
COUNTED = (
    Column("Packets", lambda a: a.get("packets", ""), right=True),
    Column("Bytes", lambda a: a.get("bytes", ""), right=True),
)


def acl_list(out: Output, acls: list[dict[str, Any]]) -> str:
    columns = (*ACLS, *COUNTED) if any("packets" in one for one in acls) else ACLS
    return table(out, columns, acls, empty="No rule matches.")


def network_list(out: Output, networks: list[dict[str, Any]]) -> str:
    return table(out, NETWORKS, sorted(networks, key=lambda n: int(n["vni"])), empty="No network matches.")


def network_info(network: dict[str, Any]) -> str:
    ip4, ip6 = network["ip4"], network["ip6"]
    options = ", ".join(f"{key}={value}" for key, value in sorted(network.get("options", {}).items()))
    rows = [
        ("VNI", network["vni"]),
        ("Description", network["description"]),
        ("Type", network["type"]),
        ("MTU", network["mtu"]),
        ("Domain", network["domain"]),
        ("Name servers", network["name_servers"]),
        ("IPv4 network", _shown(ip4["network"])),
        ("IPv4 gateway", _shown(ip4["gateway"])),
        ("DHCP addresses", _range(ip4)),
        ("IPv6 network", _shown(ip6["network"])),
        ("IPv6 gateway", _shown(ip6["gateway"])),
        ("Options", options),
        ("Status", network.get("status", "")),
    ]
    return facts([(label, value or "-") for label, value in rows])


LEASES = (
    Column("MAC", lambda lease: lease["mac_address"]),
    Column("Address", lambda lease: lease["ip4_address"]),
    Column("Host name", lambda lease: lease["hostname"]),
    Column("Until", lambda lease: _until(lease["timestamp"])),
)


def lease_list(out: Output, leases: list[dict[str, Any]]) -> str:
    return table(out, LEASES, leases, empty="No lease matches.")


def _until(stamp: str) -> str:
    """Seconds since 1970, or a word; 0 of a lease that never ends."""
    if not stamp.isdecimal():
        return stamp
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(stamp))) if int(stamp) else "for ever"


def _shown(word: str) -> str:
    """The wire says "None" for what is not there."""
    return "" if word == "None" else word


def _range(ip4: dict[str, Any]) -> str:
    return f"{ip4['dhcp_start']} - {ip4['dhcp_end']}" if str(ip4["dhcp_flag"]) == "True" else ""
