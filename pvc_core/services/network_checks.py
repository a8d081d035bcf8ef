"""What a network may be. Pure: what is wanted against the other networks, the hosts' own and what the driver can do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from marshmallow import ValidationError

from pvc_core.contracts.network import NetworkDefinitions
from pvc_core.errors import Exists, Invalid, Refused
from pvc_core.ids import checked_name
from pvc_core.model.network import Network, Subnet

IpNetwork = IPv4Network | IPv6Network
IpAddress = IPv4Address | IPv6Address
HOST_NETWORKS = ("upstream", "cluster", "storage")
MTU_MIN, MTU_MIN_IP6 = 576, 1280
"""RFC 791 and RFC 8200: what every link must carry in one piece."""
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSide:
    """What networks must fit beside: the hosts' own, as pvc.yaml has them."""

    mtus: Mapping[str, int] = field(default_factory=dict)
    """Host network -> bytes."""
    subnets: Mapping[str, IpNetwork] = field(default_factory=dict)


def check_network(network: Network, definitions: NetworkDefinitions, others: Iterable[Network], host: HostSide) -> None:
    """Raises Invalid (naming the field of the wire), Exists or Refused for the first thing that speaks against it."""
    others = [other for other in others if other.vni != network.vni]
    _check_names(network, others)
    _check_options(network, definitions)
    for family, subnet in (("ip4", network.ip4), ("ip6", network.ip6)):
        _check_subnet(family, subnet)
        _check_overlap(network, family, subnet, others, host)
    _check_abilities(network, definitions)
    _check_reservations(network)
    _check_mtu(network, definitions, host)
    for server in network.name_servers:
        if _parsed_address(server) is None:
            raise _invalid("name_servers", f"{server!r} is no address of a name server", "like 10.0.0.1")
    _check_domain(network.domain)
    definitions.check(network)
    for other in others:
        if other.nettype == network.nettype:
            definitions.check_beside(network, other)


def check_vni(vni: int, definitions: NetworkDefinitions, nettype: str) -> None:
    top = definitions.capabilities.vni_max
    if not 1 <= vni <= top:
        raise _invalid("vni", f"{vni} cannot be the number of a {nettype} network", f"1 to {top} are allowed")


def with_default_gateway(subnet: Subnet) -> Subnet:
    """An IPv6 network's gateway is its first address unless another is given."""
    parsed = _parsed_network(subnet.network)
    if subnet.gateway or not isinstance(parsed, IPv6Network) or parsed.num_addresses < 2:
        return subnet
    return Subnet(network=subnet.network, gateway=str(parsed[1]), dhcp=subnet.dhcp)


def in_one_form(network: Network) -> Network:
    """A checked network's addresses as everybody writes them: 10.20.0.0/255.255.255.0 and FD20::0001 are known by one
    of the drivers' programs and unknown to the next.
    """
    return replace(network, ip4=_one_form(network.ip4), ip6=_one_form(network.ip6))


def _one_form(subnet: Subnet) -> Subnet:
    gateway, first, last = (
        str(ip_address(word)) if word else "" for word in (subnet.gateway, subnet.dhcp_start, subnet.dhcp_end)
    )
    network = str(ip_network(subnet.network)) if subnet.network else ""
    return replace(subnet, network=network, gateway=gateway, dhcp_start=first, dhcp_end=last)


# -- one after the other -----------------------------------------------------------------------------------------------


def _check_names(network: Network, others: Iterable[Network]) -> None:
    try:
        checked_name(network.name, "network")
    except Invalid as error:
        raise Invalid(error.message, help=error.help, fields={"description": error.message}) from None
    if network.name.isdecimal() or network.name in HOST_NETWORKS:
        raise _invalid(
            "description", f"{network.name!r} cannot be the description of a network",
            "numbers are VNIs; upstream, cluster and storage are the hosts' own networks",
        )  # fmt: skip
    for other in others:
        if other.name == network.name:
            raise Exists(f"network {other.vni} has the description {network.name!r} already", help="choose another")


def _check_options(network: Network, definitions: NetworkDefinitions) -> None:
    schema = definitions.network_options()
    try:
        schema.load(dict(network.options))
    except ValidationError as error:
        wrong = "; ".join(f"{key}: {' '.join(map(str, said))}" for key, said in error.normalized_messages().items())
        known = ", ".join(sorted(schema.fields)) or "none"
        what = f"options of network {network.ref}: {wrong}"
        raise _invalid("option", what, f"options of its driver: {known}") from None


def _check_subnet(family: str, subnet: Subnet) -> None:
    if not subnet.network:
        if given := [word for word in (subnet.gateway, subnet.dhcp_start, subnet.dhcp_end) if word]:
            raise _invalid(f"{family}_network", f"{given[0]} is in no network", f"give {family}_network with it")
        if subnet.dhcp:
            raise _invalid("dhcp4", "DHCP needs a network to give addresses of", f"give {family}_network with it")
        return
    network = _network(family, subnet.network)
    if subnet.gateway:
        _inside(f"{family}_gateway", "the gateway", subnet.gateway, network)
    if family == "ip4":
        _check_dhcp(subnet, network)


def _check_dhcp(subnet: Subnet, network: IpNetwork) -> None:
    if not subnet.dhcp and not subnet.dhcp_start and not subnet.dhcp_end:
        return
    if not subnet.dhcp_start or not subnet.dhcp_end:
        missing = "dhcp4_end" if subnet.dhcp_start else "dhcp4_start"
        raise _invalid(missing, "DHCP needs the first and the last address it may give", f"give {missing}")
    first = _inside("dhcp4_start", "the first DHCP address", subnet.dhcp_start, network)
    last = _inside("dhcp4_end", "the last DHCP address", subnet.dhcp_end, network)
    if int(first) > int(last):
        raise _invalid("dhcp4_end", f"DHCP addresses from {first} to {last} are none", "the last is before the first")
    if subnet.gateway and int(first) <= int(ip_address(subnet.gateway)) <= int(last):
        raise _invalid(
            "ip4_gateway", f"the gateway {subnet.gateway} is among the DHCP addresses {first} to {last}",
            "choose a gateway outside of them",
        )  # fmt: skip


def _check_overlap(network: Network, family: str, subnet: Subnet, others: Iterable[Network], host: HostSide) -> None:
    if not subnet.network:
        return
    mine = _network(family, subnet.network)
    there = [(f"network {other.ref}", _parsed_network(getattr(other, family).network)) for other in others]
    there += [(f"the hosts' {name} network", theirs) for name, theirs in host.subnets.items()]
    for what, theirs in there:
        if theirs is not None and theirs.version == mine.version and theirs.overlaps(mine):
            raise Refused(f"{mine} overlaps {theirs} of {what}", help="choose addresses that nobody else has")


def _check_abilities(network: Network, definitions: NetworkDefinitions) -> None:
    can = definitions.capabilities
    wants_gateway = bool(network.ip4.gateway or network.ip6.gateway)
    if wants_gateway and not can.gateway:
        raise Refused(
            f"a {network.nettype} network cannot have a gateway: its driver lacks the capability gateway",
            help="leave the gateway out, or choose another type",
        )
    if (network.ip4.dhcp or network.reservations) and not can.dhcp:
        raise Refused(
            f"a {network.nettype} network cannot give addresses: its driver lacks the capability dhcp",
            help="leave DHCP out, or choose another type",
        )


def _check_reservations(network: Network) -> None:
    """Those that were made for the network as it was before."""
    for one in network.reservations:
        where = _parsed_network(network.ip4.network)
        address = ip_address(one.address)
        if where is None or address not in where or str(address) == network.ip4.gateway:
            raise Refused(
                f"{one.address}, which is reserved for {one.mac}, could not be had in network {network.ref} any more",
                help="remove that reservation first",
            )


def _check_mtu(network: Network, definitions: NetworkDefinitions, host: HostSide) -> None:
    top = definitions.mtu_max(host.mtus)
    low = MTU_MIN_IP6 if network.ip6.network else MTU_MIN
    if network.mtu and not low <= network.mtu <= top:
        raise _invalid(
            "mtu", f"an MTU of {network.mtu} does not fit network {network.ref}",
            f"{low} to {top} bytes are allowed: what the hosts' network below it carries, less its own headers",
        )  # fmt: skip


def _check_domain(domain: str) -> None:
    labels = domain.split(".") if domain else []
    if len(domain) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _invalid("domain", f"{domain[:80]!r} is no domain name", "like lab.example.org")


def _network(family: str, text: str) -> IpNetwork:
    version = 4 if family == "ip4" else 6
    example = "10.20.0.0/24" if version == 4 else "fd20::/64"
    try:
        parsed = ip_network(text)
    except ValueError as error:
        raise _invalid(f"{family}_network", f"{text!r} is no network: {error}", f"like {example}") from None
    usable = parsed.version == version and "/" in text and "%" not in text and parsed.num_addresses >= 4
    if not usable or parsed.is_multicast or parsed.is_loopback or parsed.is_link_local or not int(parsed[0]):
        raise _invalid(f"{family}_network", f"{text!r} cannot be the IPv{version} network of guests", f"like {example}")
    return parsed


def _inside(field_: str, what: str, text: str, network: IpNetwork) -> IpAddress:
    address = _parsed_address(text)
    if address is None:
        raise _invalid(field_, f"{what} {text!r} is no address", f"like {network[1]}")
    edge = address == network.network_address or (network.version == 4 and address == network.broadcast_address)
    if address.version != network.version or address not in network or edge:
        raise _invalid(
            field_, f"{what} {address} is no address that a machine in {network} can have", f"like {network[1]}"
        )
    return address


def _parsed_address(text: str) -> IpAddress | None:
    """None also for one with the name of a device (RFC 4007's zone)."""
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def _parsed_network(text: str) -> IpNetwork | None:
    try:
        return ip_network(text) if text else None
    except ValueError:
        return None


def _invalid(field_: str, message: str, help: str) -> Invalid:
    return Invalid(message, help=help, fields={field_: f"{message}; {help}"})
