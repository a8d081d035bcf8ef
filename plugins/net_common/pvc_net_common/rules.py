# SPDX-License-Identifier: LGPL-3.0-or-later
"""What nft is told: the ACLs of a network, what a guest's port may send, and a rule to be looked at. Pure text.

One table of the bridge family: frames between two guests of one node pass it, too. A frame from a guest is judged as it
enters the bridge (by its port's own chain, then the network's `out`), one to a guest as it leaves it (the network's
`in`). Ports find their chains by a map, so the work for a frame does not grow with the number of networks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from types import MappingProxyType

from pvc_core.model.network import Acl, AclDirection, Network
from pvc_net_common.names import tap_name
from pvc_net_common.options import is_trusted

TABLE = "pvc"
MARKS = "marks"
"""A set: device -> (as the element's comment) the digest of what was loaded for it."""
NONE: Mapping[str, str] = MappingProxyType({})
HOOK = {AclDirection.OUT: "prerouting", AclDirection.IN: "postrouting"}
FRAME = f"""add table bridge {TABLE}
add set bridge {TABLE} {MARKS} {{ type ifname; }}
add map bridge {TABLE} senders {{ type ifname : verdict; }}
add map bridge {TABLE} takers {{ type ifname : verdict; }}
add chain bridge {TABLE} from_guests {{ type filter hook prerouting priority -200; }}
add chain bridge {TABLE} to_guests {{ type filter hook postrouting priority 200; }}
flush chain bridge {TABLE} from_guests
flush chain bridge {TABLE} to_guests
add rule bridge {TABLE} from_guests iifname vmap @senders
add rule bridge {TABLE} to_guests oifname vmap @takers
"""
_VERDICTS = re.compile(r"\b(accept|drop|reject|return|continue|queue|log|limit|jump|goto)\b")
_QUOTED = re.compile(r'"[^"\r\n]*"')
_NESTED = re.compile(r"\{[^{}]*\}")
_SEPARATOR = re.compile(r'[;"\r\n]')
"""A quote that is left open takes what follows in the file for its own; a line ends where it ends, also in quotes that
stand behind a #.
"""


def chain(vni: int, direction: AclDirection) -> str:
    return f"{direction}{vni}"


def acl_text(network: Network) -> str:
    """Both chains of the network as they shall be; whole, so that loading it is all or nothing."""
    lines = []
    for direction in AclDirection:
        name = chain(network.vni, direction)
        lines += [f"add chain bridge {TABLE} {name}", f"flush chain bridge {TABLE} {name}"]
        lines += [f"add rule bridge {TABLE} {name} {counted(acl.rule)}" for acl in network.acls_of(direction)]
    return _lines(lines)


def leased_text(network: Network, leased: Mapping[str, str]) -> str:
    """The sets of the addresses that are lent to somebody. `leased`: address -> MAC."""
    lines = []
    for version in (4, 6):
        name = leased_name(network.vni, version)
        there = sorted(address for address in leased if ip_address(address).version == version)
        lines += [f"add set bridge {TABLE} {name} {{ type ipv{version}_addr; }}", f"flush set bridge {TABLE} {name}"]
        lines += [f"add element bridge {TABLE} {name} {_set(there)}"] if there else []
    return _lines(lines)


def leased_name(vni: int, version: int) -> str:
    return f"leased{version}_{vni}"


def leased_mark(vni: int) -> str:
    """Under this name the sets' digest is on record: they change more often than ACLs, whose counters shall stay."""
    return f"lent{vni}"


def port_text(network: Network, mac: str, leased: Mapping[str, str] = NONE) -> str:
    """The two chains of a guest's port, and the way to them. Needs leased_text to be loaded."""
    word, tap = mac.replace(":", "").lower(), tap_name(mac)
    lines = []
    for way in ("from", "to"):
        lines += [f"add chain bridge {TABLE} {way}_{word}", f"flush chain bridge {TABLE} {way}_{word}"]
    rules = [] if is_trusted(network, mac) else spoof_rules(network, mac.lower(), leased)
    out, in_ = (chain(network.vni, direction) for direction in (AclDirection.OUT, AclDirection.IN))
    lines += [f"add rule bridge {TABLE} from_{word} {rule}" for rule in (*rules, f"goto {out}")]
    lines += [f"add rule bridge {TABLE} to_{word} goto {in_}"]
    lines += [f'add element bridge {TABLE} senders {{ "{tap}" : goto from_{word} }}']
    lines += [f'add element bridge {TABLE} takers {{ "{tap}" : goto to_{word} }}']
    return _lines(lines)


def no_port_text(mac: str) -> str:
    """Nothing of the port is left. What is not there is made first: nft 1.0 cannot take away what may be absent."""
    word, tap = mac.replace(":", "").lower(), tap_name(mac)
    lines = []
    for way, table in (("from", "senders"), ("to", "takers")):
        name, element = f"{way}_{word}", f'add element bridge {TABLE} {table} {{ "{tap}" : goto {way}_{word} }}'
        lines += [f"add chain bridge {TABLE} {name}", element, f'delete element bridge {TABLE} {table} {{ "{tap}" }}']
        lines += [f"flush chain bridge {TABLE} {name}", f"delete chain bridge {TABLE} {name}"]
    return _lines(lines) + _unmarked(tap)


def no_network_text(vni: int) -> str:
    """No port may lead there any more."""
    names = [chain(vni, direction) for direction in AclDirection]
    lines = [f"{verb} chain bridge {TABLE} {name}" for name in names for verb in ("add", "flush", "delete")]
    for version in (4, 6):
        name = leased_name(vni, version)
        lines += [f"add set bridge {TABLE} {name} {{ type ipv{version}_addr; }}", f"delete set bridge {TABLE} {name}"]
    return _lines(lines) + _unmarked(f"vmbr{vni}") + _unmarked(leased_mark(vni))


def marked(device: str, text: str) -> str:
    """What puts on record that `text` is loaded for `device`."""
    again = f'add element bridge {TABLE} {MARKS} {{ "{device}" comment "{digest(text)}" }}'
    return _unmarked(device) + _lines([again])


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def counted(rule: str) -> str:
    """`rule` with a counter of what matched it, before its first verdict or the like; as it is if it has one.

    What stands in quotes or braces is not looked into.
    """
    bare = _hidden(rule)
    if re.search(r"\bcounter\b", bare):
        return rule
    at = _VERDICTS.search(bare)
    return f"{rule[: at.start()]}counter {rule[at.start() :]}" if at else f"counter {rule}"


def check_text(acl: Acl) -> str:
    """A transaction for `nft --check` that is right if the rule is one statement that this kernel takes where it shall
    stand. What would end the statement is given to nft as a character that cannot, so that nft says what is wrong.
    """
    top = ["add table bridge pvc_check"]
    top += [f"add chain bridge pvc_check acl {{ type filter hook {HOOK[acl.direction]} priority 0; }}"]
    asked = [separated(acl.rule)] if separated(acl.rule) else [acl.rule, counted(acl.rule)]
    return _lines([*top, *(f"add rule bridge pvc_check acl {rule}" for rule in asked)])


def separated(rule: str) -> str:
    """ "" for one statement; else the rule with what separates them spoilt."""
    cut = [at.start() for at in _SEPARATOR.finditer(_QUOTED.sub(lambda found: "x" * len(found[0]), rule))]
    for at in reversed(cut):
        rule = f"{rule[:at]}\\; {rule[at + 1 :]}"
    return rule if cut else ""


def spoof_rules(network: Network, mac: str, leased: Mapping[str, str] = NONE) -> list[str]:
    """What a guest may not send: another's MAC, an address that is not its own (reserved for this MAC or lent to it; if
    there is none any of the network that is nobody's), addresses given to others (DHCP, router advertisements) where
    the cluster gives them.
    """
    rules = [f"ether saddr != {mac} counter drop", f"arp saddr ether != {mac} counter drop"]
    if network.ip4.network:
        rules += _spoof4(network, mac, leased)
    if network.ip6.network:
        rules += _spoof6(network, mac, leased)
    return rules


def _spoof4(network: Network, mac: str, leased: Mapping[str, str]) -> list[str]:
    own, taken = _addresses(network, mac, 4, leased)
    mine = own or [network.ip4.network]
    probing = _set([*mine, "0.0.0.0"])  # RFC 5227: who asks whether it is free has none
    rules = _dhcp4(network, mac) if network.ip4.dhcp else []
    rules += [
        f"arp saddr ip != {probing} counter drop",
        "ip saddr 0.0.0.0 udp dport != 67 counter drop",
        f"ip saddr != {probing} counter drop",
    ]
    if own:
        return rules
    lent = f"@{leased_name(network.vni, 4)}"
    for others in (*([_set(taken)] if taken else []), lent):
        rules += [f"arp saddr ip {others} counter drop", f"ip saddr {others} counter drop"]
    return rules


def _dhcp4(network: Network, mac: str) -> list[str]:
    """Guests are no servers and ask for themselves only: leases are kept by the MAC that stands inside the question
    (RFC 2131 2). One whose lease was taken back may ask for it anew with the address that it still has.
    """
    inside = "@th,288,48"  # chaddr: 28 bytes after UDP's 8
    return [
        "udp sport 67 udp dport 68 counter drop",
        f"udp dport 67 {inside} != 0x{mac.replace(':', '')} counter drop",
        f"ip saddr {network.ip4.network} udp sport 68 udp dport 67 goto {chain(network.vni, AclDirection.OUT)}",
    ]


def _spoof6(network: Network, mac: str, leased: Mapping[str, str]) -> list[str]:
    own, taken = _addresses(network, mac, 6, leased)
    chooses = ip_network(network.ip6.network).prefixlen == 64  # addresses itself (RFC 4862), beside those it is given
    reserved = [one.address for one in network.reservations if one.mac.lower() == mac and one.address in own]
    mine = reserved or (own if not chooses else []) or [network.ip6.network]
    rules = ["icmpv6 type nd-router-advert counter drop"] if network.ip6.gateway else []
    rules += [f"ip6 saddr != {_set([*mine, 'fe80::/10', '::'])} counter drop"]
    if mine == [network.ip6.network]:
        lent = f"ip6 saddr @{leased_name(network.vni, 6)}"
        rules += [f"ip6 saddr {_set(taken)} counter drop"] if taken else []
        rules += [f"{lent} ip6 saddr != {_set(own)} counter drop" if own else f"{lent} counter drop"]
    return rules


def _addresses(network: Network, mac: str, version: int, leased: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """(reserved for this MAC or lent to it, reserved for somebody else and the gateway)."""
    own: list[str] = []
    taken: list[str] = []
    for reservation in network.reservations:
        if ip_address(reservation.address).version == version:
            (own if reservation.mac.lower() == mac else taken).append(reservation.address)
    lent = [address for address, whose in leased.items() if whose.lower() == mac]
    own += sorted(address for address in lent if ip_address(address).version == version and address not in taken)
    gateway = (network.ip4 if version == 4 else network.ip6).gateway
    return own, [*taken, gateway] if gateway else taken


def _hidden(rule: str) -> str:
    """The same length, with quoted text and what stands in braces made unreadable."""
    bare = _QUOTED.sub(lambda found: "x" * len(found[0]), rule)
    return _NESTED.sub(lambda found: "x" * len(found[0]), bare)


def _set(values: Sequence[str]) -> str:
    return "{ " + ", ".join(dict.fromkeys(values)) + " }"


def _unmarked(device: str) -> str:
    place = f'element bridge {TABLE} {MARKS} {{ "{device}" }}'
    return _lines([f"add {place}", f"delete {place}"])


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
