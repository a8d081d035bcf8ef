"""What an operator may say of one managed network by `option=KEY=VALUE`, and what it means. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import Any

from marshmallow import ValidationError, fields, validate

from pvc_core.model.network import Network
from pvc_net_common.options import FilterOptions

YES, NO = frozenset({"yes", "true", "on", "1"}), frozenset({"no", "false", "off", "0"})
LEASE_MIN_S, LEASE_MAX_S, LEASE_S = 120, 31_536_000, 86_400
"""dnsmasq gives none below two minutes; RFC 2131 knows no upper limit, a year will do."""
VNI_MAX = 16_777_215
_DHCP_OPTION = re.compile(r"(?:option:([a-z0-9-]+)|([0-9]{1,3})),([ -~]+)")
_OWN = frozenset({1, 3, 6, 12, 26, 28, 50, 51, 53, 54, 55, 58, 59, 61, 82})
"""Numbers that are the server's own to give (RFC 2132), or told by other words: gateway, MTU, lease_s."""
KNOWN = frozenset(
    {
        "time-offset", "log-server", "lpr-server", "swap-server", "root-path", "static-route", "default-ttl",
        "nis-domain", "nis-server", "netbios-ns", "netbios-dd", "netbios-nodetype", "netbios-scope", "tftp-server",
        "bootfile-name", "smtp-server", "pop3-server", "nntp-server", "irc-server", "posix-timezone",
        "tzdb-timezone", "sip-server", "classless-static-route", "tftp-server-address",
    }
)  # fmt: skip
"""Names of options as dnsmasq has them (`dnsmasq --help dhcp`), without those that other words tell."""
_BOOT_FILE = re.compile(r"[\w./:@%+=-]{1,127}")


def _yes(text: str) -> None:
    if text.lower() not in YES | NO:
        raise ValidationError("yes or no is allowed")


def _addresses(text: str) -> None:
    for word in _words(text):
        try:
            ip_address(word)
        except ValueError:
            raise ValidationError(f"{word!r} is no address") from None


def _ip4(text: str) -> None:
    try:
        IPv4Address(text)
    except ValueError:
        raise ValidationError(f"{text!r} is no IPv4 address") from None


def _vnis(text: str) -> None:
    for word in _words(text):
        if not word.isdecimal() or not 1 <= int(word) <= VNI_MAX:
            raise ValidationError(f"{word!r} is no VNI; give numbers with commas between them")


def _seconds(text: str) -> None:
    if not text.isdecimal() or not LEASE_MIN_S <= int(text) <= LEASE_MAX_S:
        raise ValidationError(f"{LEASE_MIN_S} to {LEASE_MAX_S} seconds are allowed")


def _dhcp_options(text: str) -> None:
    for word in filter(None, map(str.strip, text.split(";"))):
        found = _DHCP_OPTION.fullmatch(word)
        if found is None:
            raise ValidationError(f"{word!r} is no DHCP option; like 'option:tftp-server,10.0.0.5' or '150,10.0.0.5'")
        name, number, _value = found.groups()
        if name and name not in KNOWN:
            raise ValidationError(f"no DHCP option is called {name!r}; give its number, like '150,10.0.0.5'")
        if number and (not 1 <= int(number) <= 254 or int(number) in _OWN):
            raise ValidationError(f"DHCP option {number} cannot be given: it is the server's own, or none")


def _boot_file(text: str) -> None:
    if text and not _BOOT_FILE.fullmatch(text):
        raise ValidationError("this is no file name a boot loader could ask for")


def _text(check: Any, what: str) -> fields.String:
    return fields.String(validate=check, metadata={"description": what})


class NetworkOptions(FilterOptions):
    """`option=key=value` of a managed network. All values are text."""

    nat = _text(_yes, "guests reach upstream under the cluster's address there (IPv4)")
    upstream = _text(_yes, "packets are routed between this network and upstream; without it nothing goes there")
    route_to = _text(_vnis, "VNIs of managed networks into which guests of this one may open connections")
    gateway = _text(
        validate.OneOf(("central", "distributed")),
        "distributed: every node is the gateway for its own guests; central: the primary is for all [central]",
    )
    arp_suppression = _text(_yes, "nodes answer ARP for guests of other nodes; not with addresses that guests move")
    lease_s = _text(_seconds, "how long an address is given for, in seconds")
    ntp_servers = _text(_addresses, "what DHCP names as NTP servers (option 42); the gateway when left out")
    dhcp_options = _text(_dhcp_options, "more DHCP options in dnsmasq's words, with semicolons between them")
    boot_file = _text(_boot_file, "what a guest that boots from the network loads (TFTP)")
    boot_server = _text(_ip4, "where it loads it from; this cluster's own TFTP server when left out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """The options of one network as values."""

    nat: bool = False
    upstream: bool = True
    route_to: tuple[int, ...] = ()
    distributed: bool = False
    arp_suppression: bool = False
    lease_s: int = LEASE_S
    ntp_servers: tuple[str, ...] = ()
    dhcp_options: tuple[str, ...] = ()
    boot_file: str = ""
    boot_server: str = ""


def wishes(network: Network) -> Wishes:
    given = network.options
    return Wishes(
        nat=_is_yes(given.get("nat", "no")),
        upstream=_is_yes(given.get("upstream", "yes")),
        route_to=tuple(int(word) for word in _words(given.get("route_to", ""))),
        distributed=given.get("gateway", "central") == "distributed",
        arp_suppression=_is_yes(given.get("arp_suppression", "no")),
        lease_s=int(given.get("lease_s", LEASE_S)),
        ntp_servers=tuple(_words(given.get("ntp_servers", ""))),
        dhcp_options=tuple(word.strip() for word in given.get("dhcp_options", "").split(";") if word.strip()),
        boot_file=given.get("boot_file", ""),
        boot_server=given.get("boot_server", ""),
    )


def serves_dhcp(network: Network) -> bool:
    return network.ip4.dhcp or bool(network.ip6.network)


def with_gateway(networks: Iterable[Network]) -> list[Network]:
    """Those in which the cluster itself has an address."""
    return [one for one in networks if one.ip4.gateway or one.ip6.gateway]


def joined(one: Network, other: Network) -> bool:
    """Whether every node routes between the two by itself: both gateways are distributed, and either side may open
    connections. Where only one may, answers are told from openings by who saw both: the primary.
    """
    mine, theirs = wishes(one), wishes(other)
    if not (mine.distributed and theirs.distributed):
        return False
    return one.vni == other.vni or (other.vni in mine.route_to and one.vni in theirs.route_to)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _is_yes(text: str) -> bool:
    return text.lower() in YES
