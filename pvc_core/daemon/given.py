"""A host network as `pvcnoded` is told it: --network NAME=DEVICE,ADDRESS/PREFIX[,floating=..][,gateway=..][,mtu=..]."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_interface

from pvc_core.config.sections import HostNetwork
from pvc_core.errors import Invalid

NAMES = ("upstream", "cluster", "storage")
EXAMPLE = "like --network cluster=eth1,10.1.0.12/24 or upstream=bond0,10.0.0.11/24,floating=10.0.0.250/24"
_MORE = ("floating", "gateway", "mtu")


def networks(words: Sequence[str]) -> dict[str, HostNetwork]:
    """By their names. Raises Invalid."""
    found: dict[str, HostNetwork] = {}
    for word in words:
        name, _, rest = word.partition("=")
        device, _, rest = rest.partition(",")
        address, *more = rest.split(",")
        try:
            if name not in NAMES or not device:
                raise ValueError(f"{name or 'nothing'} is none of {', '.join(NAMES)}, or there is no device")
            found[name] = _network(device, address, dict(_pair(one) for one in more))
        except ValueError as error:
            raise Invalid(f"--network {word}: {error}", help=EXAMPLE) from None
    return found


def as_yaml(name: str, network: HostNetwork) -> str:
    """Its line below host_networks."""
    return f"  {name}: {{{', '.join(f'{key}: {word}' for key, word in words_of(network).items())}}}\n"


def words_of(network: HostNetwork) -> dict[str, str]:
    """What was given of it, as pvc.yaml has it."""
    given = {"device": network.device, "address": network.address, "floating": network.floating,
             "gateway": network.gateway, "mtu": network.mtu}  # fmt: skip
    return {key: str(value) for key, value in given.items() if value is not None}


def _pair(word: str) -> tuple[str, str]:
    key, sign, value = word.partition("=")
    if not sign or key not in _MORE:
        raise ValueError(f"{word!r} is none of {', '.join(f'{name}=' for name in _MORE)}")
    return key, value


def _network(device: str, address: str, more: dict[str, str]) -> HostNetwork:
    return HostNetwork(
        device=device,
        address=ip_interface(address),
        floating=ip_interface(more["floating"]) if "floating" in more else None,
        gateway=ip_address(more["gateway"]) if "gateway" in more else None,
        mtu=int(more["mtu"]) if "mtu" in more else None,
    )
