"""dnsmasq's words for one network (DHCP, DNS, router advertisements, TFTP) and for the names of all of them towards
upstream. Pure; serving.py runs it.

DNS towards upstream is dnsmasq's own authoritative mode: what it answers it has from the same leases, so there is no
second database to fall behind, and no second program to install (docs/decisions/0007-dns-by-dnsmasq.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from pvc_core.model.network import Network
from pvc_net_evpn.kernel import home_name
from pvc_net_evpn.options import wishes

HOSTS, NAMES, LEASES = "hosts", "names", "leases"
"""Files of a network's folder: who gets which address and name; fixed names; leases as of the last start."""
DUID_ENTERPRISE = 32473
"""RFC 5612's number for those who have none of their own."""
LEASES_MAX = 65_536
_NO_LABEL = re.compile(r"[^a-z0-9-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A lease, as dnsmasq and the store know it."""

    address: str
    mac: str
    """Of IPv6 leases the guest's DUID stands in `client`, and this may be "" (RFC 8415 11)."""
    hostname: str = ""
    expires_s: int = 0
    """Wall clock; 0: never."""
    client: str = ""
    iaid: str = ""


def config(network: Network, folder: Path, *, mtu: int, script: Path, tftp_root: str = "") -> str:
    """The whole configuration of the network's own dnsmasq."""
    wants = wishes(network)
    lines = [
        *_always(folder),
        f"interface={home_name(network)}",
        "bind-interfaces",
        "no-resolv",
        "no-hosts",
        f"domain={network.domain}",
        f"local=/{network.domain}/",
        *(f"local=/{zone}/" for zone in reverse_zones(network)),
        "domain-needed",
        "bogus-priv",
        "expand-hosts",
        f"addn-hosts={folder / NAMES}",
        *(f"server={address}" for address in network.name_servers),
        f"dhcp-hostsfile={folder / HOSTS}",
        "dhcp-authoritative",
        "dhcp-ignore-clid",
        "no-ping",
        f"dhcp-lease-max={LEASES_MAX}",
        "leasefile-ro",
        f"dhcp-script={script}",
        f"dhcp-duid={DUID_ENTERPRISE},{network.id.replace('-', '')[:20]}",
    ]
    if network.ip4.dhcp:
        lines += _dhcp4(network, mtu)
    if network.ip6.network and network.ip6.gateway:
        lines += _dhcp6(network, mtu)
    if wants.boot_file:
        lines.append(f"dhcp-boot={wants.boot_file}" + (f",,{wants.boot_server}" if wants.boot_server else ""))
        if tftp_root and not wants.boot_server:
            lines += ["enable-tftp", f"tftp-root={tftp_root}", "tftp-no-fail"]
    return "\n".join(lines) + "\n"


def hosts(network: Network, names: Mapping[str, str]) -> str:
    """Reservations, and for every other guest the name it is known by (`names`: MAC -> name)."""
    fixed = {one.mac: one for one in network.reservations}
    lines = [",".join(word for word in (one.mac, one.address, one.hostname) if word) for one in fixed.values()]
    lines += [f"{mac},{name}" for mac, name in sorted(names.items()) if mac not in fixed and name]
    return "".join(f"{line}\n" for line in lines)


def host_label(name: str) -> str:
    """What a VM is called as a host, as far as its name can be one's: 63 letters, digits and inner dashes (RFC 1123
    2.1).
    """
    return _NO_LABEL.sub("-", name.lower()).strip("-")[:63].rstrip("-")


def names(network: Network) -> str:
    """Names that hold whether the guest has asked for its address or not."""
    lines = [f"{one.address} {one.hostname}" for one in network.reservations if one.hostname]
    lines += [f"{gateway} gateway" for gateway in (network.ip4.gateway, network.ip6.gateway) if gateway]
    return "".join(f"{line}\n" for line in lines)


def known_leases(network: Network, leases: Sequence[Given]) -> str:
    """What the script answers dnsmasq's `init` with: its lease file's format."""
    four = [one for one in leases if not one.iaid]
    six = [one for one in leases if one.iaid]
    lines = [f"{one.expires_s} {one.mac} {one.address} {one.hostname or '*'} {one.client or '*'}" for one in four]
    if six:
        lines.append(f"duid {server_duid(network)}")
        lines += [f"{one.expires_s} {one.iaid} {one.address} {one.hostname or '*'} {one.client or '*'}" for one in six]
    return "".join(f"{line}\n" for line in lines)


def server_duid(network: Network) -> str:
    """DUID-EN (RFC 8415 11.3): the same on every node, so that guests renew with whoever is primary."""
    plain = (2).to_bytes(2, "big") + DUID_ENTERPRISE.to_bytes(4, "big")
    plain += bytes.fromhex(network.id.replace("-", "")[:20])
    return plain.hex(":")


def aggregate(networks: Sequence[Network], folder: Path, *, address: str, name: str, transfer: Sequence[str]) -> str:
    """The configuration of the dnsmasq that answers upstream for all networks. `transfer`: who may copy whole zones."""
    zones: dict[str, list[str]] = {}
    for one in networks:  # of two zones with the same name only the first would be asked
        zones.setdefault(one.domain, []).extend(subnet.network for subnet in (one.ip4, one.ip6) if subnet.network)
    lines = [
        *_always(folder),
        f"listen-address={address}",
        "bind-dynamic",
        "no-resolv",
        "no-hosts",
        f"addn-hosts={folder / NAMES}",
        f"auth-server={name},{address}",
        "auth-ttl=60",
        *([f"auth-peer={','.join(transfer)}"] if transfer else []),
        *(f"auth-zone={','.join((domain, *subnets))}" for domain, subnets in zones.items()),
    ]
    return "\n".join(lines) + "\n"


def aggregate_names(networks: Sequence[Network], leases: Mapping[int, Sequence[Given]]) -> str:
    """Fully qualified names of all networks (`leases` by VNI)."""
    lines = []
    for one in networks:
        known = {entry.address: entry.hostname for entry in leases.get(one.vni, ()) if entry.hostname}
        known |= {entry.address: entry.hostname for entry in one.reservations if entry.hostname}
        known |= {gateway: "gateway" for gateway in (one.ip4.gateway, one.ip6.gateway) if gateway}
        lines += [f"{address} {name.partition('.')[0]}.{one.domain}" for address, name in sorted(known.items())]
    return "".join(f"{line}\n" for line in lines)


def reverse_zones(network: Network) -> list[str]:
    """Of the network's addresses, as far as they end on a whole label (RFC 1035 3.5, RFC 3596 2.5)."""
    found = []
    for subnet in (network.ip4, network.ip6):
        if not subnet.network:
            continue
        parsed: IPv4Network | IPv6Network = ip_network(subnet.network)
        step = 8 if parsed.version == 4 else 4
        labels = parsed.network_address.reverse_pointer.split(".")
        whole = parsed.prefixlen // step
        found.append(".".join(labels[(32 if parsed.version == 4 else 128) // step - whole :]))
    return found


def _always(folder: Path) -> list[str]:
    return ["keep-in-foreground", "except-interface=lo", "pid-file=", "log-facility=-", "quiet-dhcp", "quiet-dhcp6"]


def _dhcp4(network: Network, mtu: int) -> list[str]:
    wants, subnet = wishes(network), network.ip4
    mask = str(ip_network(subnet.network).netmask)
    servers = ",".join(address for address in wants.ntp_servers if ":" not in address) or subnet.gateway
    return [
        f"dhcp-range={subnet.dhcp_start},{subnet.dhcp_end},{mask},{wants.lease_s}",
        f"dhcp-option=option:router,{subnet.gateway}",
        f"dhcp-option=option:dns-server,{subnet.gateway}",
        f"dhcp-option=option:ntp-server,{servers}",
        f"dhcp-option=option:mtu,{mtu}",
        f"dhcp-option=option:domain-search,{network.domain}",
        *(f"dhcp-option={word}" for word in wants.dhcp_options),
    ]


def _dhcp6(network: Network, mtu: int) -> list[str]:
    """A /64 is for addresses that guests choose themselves (RFC 4862), told by router advertisements; DHCPv6 adds the
    rest, and gives addresses where guests cannot choose any, or where there is no IPv4.
    """
    prefix = ip_network(network.ip6.network)
    wants = wishes(network)
    if prefix.prefixlen == 64 and network.ip4.network:
        range_ = f"{prefix[0]},ra-stateless,ra-names,64,{wants.lease_s}"
    else:
        size = min(prefix.num_addresses - 2, 0xFFFF)
        low = max(2, size // 16)
        mode = ",slaac" if prefix.prefixlen == 64 else ""
        range_ = f"{prefix[low]},{prefix[size]}{mode},{prefix.prefixlen},{wants.lease_s}"
    return [
        "enable-ra",
        f"ra-param={home_name(network)},mtu:{mtu},60,1800",
        f"dhcp-range={range_}",
        f"dhcp-option=option6:dns-server,[{network.ip6.gateway}]",
        f"dhcp-option=option6:domain-search,{network.domain}",
    ]
