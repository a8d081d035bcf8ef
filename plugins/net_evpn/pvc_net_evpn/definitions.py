"""What net_evpn can do. Pure; links are kernel.py's work, FRR is fabric.py's."""

from __future__ import annotations

from collections.abc import Mapping

from marshmallow import Schema

from pvc_core.contracts.network import NetworkCapabilities, NetworkDefinitions
from pvc_core.contracts.targets import Bridge

HEADERS_BYTES = 50
"""Inner Ethernet 14, VXLAN 8, UDP 8, IPv4 20 (RFC 7348): what a VXLAN over IPv4 takes of each packet."""
VNI_MAX = 16_777_215


class NetworkOptions(Schema):
    """`option=key=value` of a network: none yet."""


class EvpnDefinitions(NetworkDefinitions):
    """The pure half."""

    capabilities = NetworkCapabilities(nic_targets=(Bridge,), vni_max=VNI_MAX)
    network_options = NetworkOptions

    def mtu_max(self, host_mtus: Mapping[str, int]) -> int:
        return host_mtus.get("cluster", 1500) - HEADERS_BYTES
