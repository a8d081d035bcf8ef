"""What net_evpn can do. Pure; links are kernel.py's work, FRR is fabric.py's."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network

from pvc_core.contracts.network import NetworkCapabilities, NetworkDefinitions
from pvc_core.contracts.targets import Bridge
from pvc_core.errors import Invalid
from pvc_core.model.network import Network
from pvc_net_evpn.options import VNI_MAX, NetworkOptions, wishes

HEADERS_BYTES = 50
"""Inner Ethernet 14, VXLAN 8, UDP 8, IPv4 20 (RFC 7348): what a VXLAN over IPv4 takes of each packet."""


PREFIX_MIN = 64
"""Of IPv6: what guests choose addresses in (RFC 4862), and the largest range that dnsmasq gives any of."""


class EvpnDefinitions(NetworkDefinitions):
    """The pure half."""

    capabilities = NetworkCapabilities(
        nic_targets=(Bridge,), vni_max=VNI_MAX, gateway=True, dhcp=True, acls=True, anti_spoofing=True
    )
    network_options = NetworkOptions

    def mtu_max(self, host_mtus: Mapping[str, int]) -> int:
        return host_mtus.get("cluster", 1500) - HEADERS_BYTES

    def check(self, network: Network) -> None:
        """What dnsmasq and routing need, before anything is stored."""
        if network.ip4.dhcp and not network.ip4.gateway:
            raise _invalid(
                "ip4_gateway", f"DHCP of network {network.ref} needs a gateway: guests are answered from there",
                "give the gateway's address",
            )  # fmt: skip
        if network.ip6.network and network.ip6.gateway and ip_network(network.ip6.network).prefixlen < PREFIX_MIN:
            raise _invalid(
                "ip6_network", f"guests of network {network.ref} cannot be given addresses of {network.ip6.network}",
                f"give a /{PREFIX_MIN} of it, or a smaller part",
            )  # fmt: skip
        if network.reservations and not network.ip4.dhcp:
            raise _invalid("dhcp4", f"network {network.ref} has reservations, but no DHCP", "remove them first")
        wants = wishes(network)
        if wants.nat and not network.ip4.gateway:
            raise _invalid("option", f"network {network.ref} cannot have nat without an IPv4 gateway", "give a gateway")
        if wants.distributed and not (network.ip4.gateway or network.ip6.gateway):
            raise _invalid(
                "option", f"network {network.ref} cannot have a distributed gateway without a gateway",
                "give the gateway's address, or leave gateway=distributed out",
            )  # fmt: skip
        if network.vni in wants.route_to:
            raise _invalid("option", f"network {network.ref} routes to itself", "leave its own VNI out of route_to")


def _invalid(field: str, message: str, help: str) -> Invalid:
    return Invalid(message, help=help, fields={field: f"{message}; {help}"})
