"""BGP towards the routers of upstream: which managed networks are told to whom, and what is taken from whom. Pure.

Every coordinator has a session with every peer. Where upstream has a floating address of the family, all of them tell
all networks with that address as next hop (RFC 4271 5.1.3): it is where the gateways are, so the primary can move, and
bgpd can die, without anything to be told anew. Where there is none, only the node that has the gateways tells of them.
Nothing is passed on from one peer to another, and nothing but networks of this cluster goes out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from pvc_core.errors import Permanent
from pvc_core.model.network import Network
from pvc_net_evpn.options import wishes

ASN_MAX = 4_294_967_294
"""RFC 6793; the one above is reserved (RFC 7300)."""
_PASSWORD = re.compile(r"[!-~]{1,80}")
LAST = 4_294_967_295
RESTART_MIN = 5
"""So long a session that told too much stays down, minutes."""
Prefix = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One router."""

    address: str
    asn: int
    announce: tuple[str, ...] = ()
    """Only networks within these; all when empty."""
    accept: tuple[str, ...] = ()
    """Routes to these and to what is within; 0.0.0.0/0 and ::/0 mean the default route alone."""
    accept_max: int = 100
    multihop: int = 1
    password: str = ""

    @property
    def family(self) -> int:
        return ip_address(self.address).version


class UpstreamSchema(Schema):
    """One item of `upstream_peers`."""

    address = fields.IP(required=True, metadata={"description": "the router's; says which family it is told"})
    asn = fields.Integer(
        required=True,
        validate=validate.Range(1, ASN_MAX),
        metadata={"description": "the router's autonomous system, another than this cluster's"},
    )
    announce = fields.List(
        fields.String(), load_default=list, metadata={"description": "tell it only networks within these; else all"}
    )
    accept = fields.List(
        fields.String(),
        load_default=list,
        metadata={"description": "routes taken from it: to these and within; 0.0.0.0/0 is the default route alone"},
    )
    accept_max = fields.Integer(
        load_default=100,
        validate=validate.Range(1, 1_000_000),
        metadata={"description": "more accepted routes end the session for 5 minutes"},
    )
    multihop = fields.Integer(
        load_default=1, validate=validate.Range(1, 255), metadata={"description": "how many hops away it may be"}
    )
    password_secret = fields.String(
        load_default="",
        validate=validate.Regexp(r"([A-Za-z0-9][A-Za-z0-9._-]*)?\Z", error="{input!r} is no name of a secret"),
        metadata={"description": "NAME of the file net_evpn-NAME in paths.secrets with its password (TCP MD5)"},
    )

    @validates_schema
    def _prefixes(self, data: dict[str, Any], **_: Any) -> None:
        for key in ("announce", "accept"):
            for word in data[key]:
                try:
                    prefix = ip_network(word)
                except ValueError:
                    raise ValidationError(f"{word!r} is no network, like 10.0.0.0/8", key) from None
                if prefix.version != data["address"].version:
                    raise ValidationError(f"{word} is of another family than the peer {data['address']}", key)

    @post_load
    def plain(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**data, "address": str(data["address"])}


def peers(config: Mapping[str, Any], secret: Any) -> list[Upstream]:
    """From the plugin's section, by address. `secret` is PluginContext.secret. Raises NotFound, Permanent."""
    found = []
    for one in config.get("upstream_peers") or ():
        words = {key: value for key, value in one.items() if key != "password_secret"}
        words |= {key: tuple(words[key]) for key in ("announce", "accept")}
        name = one["password_secret"]
        password = secret(name) if name else ""
        if name and not _PASSWORD.fullmatch(password):
            raise Permanent(
                f"the password of BGP peer {one['address']} is nothing that FRR takes",
                help=f"1 to 80 visible characters without blanks in the file net_evpn-{name}",
            )
        found.append(Upstream(**words, password=password))
    return sorted(found, key=lambda one: (one.family, int(ip_address(one.address))))


def routed(network: Network) -> list[str]:
    """What upstream has to know of it. Guests that leave under the cluster's address (nat) need no way back."""
    wants = wishes(network)
    if not wants.upstream:
        return []
    four = [network.ip4.network] if network.ip4.gateway and not wants.nat else []
    six = [network.ip6.network] if network.ip6.gateway else []
    return [str(ip_network(one)) for one in (*four, *six)]


def neighbours(peers: Sequence[Upstream]) -> list[str]:
    """Lines for `router bgp`."""
    lines = [" no bgp network import-check"] if peers else []
    for one in peers:
        lines.append(f" neighbor {one.address} remote-as {one.asn}")
        lines += [f" neighbor {one.address} password {one.password}"] if one.password else []
        lines += [f" neighbor {one.address} ebgp-multihop {one.multihop}"] if one.multihop > 1 else []
        lines.append(f" neighbor {one.address} timers connect 5")
    return lines


def families(peers: Sequence[Upstream], networks: Mapping[int, Sequence[str]], next_hops: Sequence[str]) -> list[str]:
    """The address families. `networks` by VNI; `next_hops`: the floating addresses of upstream."""
    lines = []
    for version in (4, 6):
        mine = [one for one in peers if one.family == version]
        if not mine:
            continue
        lines.append(f" address-family ipv{version} unicast")
        if _next_hop(next_hops, version):
            lines += [f"  network {prefix}" for _vni, prefix in _of(networks, version)]
        else:
            lines.append(f"  redistribute connected route-map pvc-managed-{version}")
        for one in mine:
            lines += [
                f"  neighbor {one.address} activate",
                f"  neighbor {one.address} maximum-prefix {one.accept_max} restart {RESTART_MIN}",
                f"  neighbor {one.address} route-map {_name('in', one)} in",
                f"  neighbor {one.address} route-map {_name('out', one)} out",
            ]
        lines.append(" exit-address-family")
    return lines


def filters(peers: Sequence[Upstream], networks: Mapping[int, Sequence[str]], next_hops: Sequence[str]) -> list[str]:
    """Prefix lists and route maps, for behind `router bgp`."""
    lines = []
    for version in (4, 6):
        mine = [one for one in peers if one.family == version]
        known = _of(networks, version)
        hop = _next_hop(next_hops, version)
        if mine and not hop:
            lines += _map(f"pvc-managed-{version}", version, [(vni, prefix) for vni, prefix in known])
        for one in mine:
            within = [ip_network(word) for word in one.announce]
            told = [(vni, prefix) for vni, prefix in known if not within or _is_within(prefix, within)]
            lines += _map(_name("out", one), version, told, hop)
            taken = [(seq, _taken(word)) for seq, word in enumerate(one.accept, 1)]
            lines += _map(_name("in", one), version, taken)
    return lines


def _map(name: str, version: int, entries: Sequence[tuple[int, str]], hop: str = "") -> list[str]:
    """What is not in the list does not pass. An entry's number is its own, so that no other entry moves with it; and no
    list is empty, for an empty one lets everything pass.
    """
    word = "ip" if version == 4 else "ipv6"
    lines = [f"{word} prefix-list {name} seq {seq} permit {entry}" for seq, entry in entries]
    lines.append(f"{word} prefix-list {name} seq {LAST} deny any")
    lines += [f"route-map {name} permit 10", f" match {word} address prefix-list {name}"]
    if hop:
        lines.append(f" set ip next-hop {hop}" if version == 4 else f" set ipv6 next-hop global {hop}")
    return [*lines, "exit"]


def _taken(word: str) -> str:
    prefix = ip_network(word)
    return str(prefix) if prefix.prefixlen in (0, prefix.max_prefixlen) else f"{prefix} le {prefix.max_prefixlen}"


def _of(networks: Mapping[int, Sequence[str]], version: int) -> list[tuple[int, str]]:
    return [
        (vni, prefix) for vni in sorted(networks) for prefix in networks[vni] if ip_network(prefix).version == version
    ]


def _is_within(word: str, outer: Sequence[Prefix]) -> bool:
    prefix = ip_network(word)
    return any(prefix.network_address in one and prefix.prefixlen >= one.prefixlen for one in outer)


def _next_hop(floating: Sequence[str], version: int) -> str:
    return next((word for word in floating if ip_address(word).version == version), "")


def _name(way: str, peer: Upstream) -> str:
    return f"pvc-{way}-{peer.address}"
