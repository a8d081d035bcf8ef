"""Network interfaces in a definition: on PVC's networks, on host networks, and on SR-IOV functions."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

from lxml import etree

from pvc_cli.domxml.tree import Element, add_device, parse, remove_device, text_of, whole_text_of
from pvc_cli.errors import CliError, NotThere

HOST_NETWORKS = ("upstream", "cluster", "storage")
VNI_MAX = 16_777_215


def bridge_of(network: str) -> str:
    """The bridge a network has on every node: vmbr<VNI>, or br<name> for a host network."""
    if network in HOST_NETWORKS:
        return f"br{network}"
    if not network.isdecimal() or not 1 <= int(network) <= VNI_MAX:
        raise CliError(
            f'"{network}" is no network.', help=f"give a VNI (a number) or one of {', '.join(HOST_NETWORKS)}"
        )
    return f"vmbr{int(network)}"


def checked_mac(text: str | None) -> str:
    """A MAC in lower case; a new one from QEMU's range (52:54:00) for None."""
    if text is None:
        return "52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
    if not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", text):
        raise CliError(f'"{text}" is no MAC address.', help="write it like 52:54:00:12:34:56")
    if int(text[:2], 16) & 1:
        raise CliError(f"{text} is a multicast address; a network card cannot have it.")
    return text.lower()


def bridge_nic(network: str, mac: str, model: str) -> Element:
    nic = etree.Element("interface", type="bridge")
    etree.SubElement(nic, "mac", address=mac)
    etree.SubElement(nic, "source", bridge=bridge_of(network))
    etree.SubElement(nic, "model", type=model)
    return nic


def macvtap_nic(function: str, mac: str, model: str) -> Element:
    """A card on SR-IOV's virtual function `function` (its interface's name) that can be migrated."""
    nic = etree.Element("interface", type="direct")
    etree.SubElement(nic, "mac", address=mac)
    etree.SubElement(nic, "source", dev=function, mode="passthrough")
    etree.SubElement(nic, "model", type=model)
    return nic


def hostdev_nic(function: str, mac: str, pci: Mapping[str, str]) -> Element:
    """A card that is SR-IOV's virtual function `function` itself; `pci`: domain, bus, slot and function in hex."""
    nic = etree.Element("interface", type="hostdev", managed="yes")
    etree.SubElement(nic, "mac", address=mac)
    source = etree.SubElement(nic, "source")
    address = etree.SubElement(source, "address", type="pci")
    for name in ("domain", "bus", "slot", "function"):
        address.set(name, f"0x{pci[name]}")
    etree.SubElement(nic, "sriov_device").text = function
    return nic


def with_nic(xml: str, nic: Element) -> tuple[str, str]:
    """The definition with `nic` in it, and the XML of the card alone.

    Raises CliError if the VM already has a card with that MAC address.
    """
    root = parse(xml)
    mac = mac_of(nic)
    if any(mac_of(other) == mac for other in root.findall("devices/interface")):
        raise CliError(f"The VM already has a network card with the MAC address {mac}.")
    add_device(root, nic)
    return whole_text_of(root), text_of(nic)


def without_nic(xml: str, network: str | None, mac: str | None, *, sriov: bool = False) -> tuple[str, str]:
    """The definition without the card, and the card's XML. Raises NotThere if none fits, CliError if several do."""
    root = parse(xml)
    wanted = checked_mac(mac) if mac else None
    fitting = [
        nic
        for nic in root.findall("devices/interface")
        if (wanted is None or mac_of(nic) == wanted) and (network is None or is_on(nic, network, sriov))
    ]
    what = " with ".join(filter(None, [f"on {network}" if network else "", f"MAC address {wanted}" if wanted else ""]))
    if not fitting:
        raise NotThere(f"The VM has no network card {what}.", help="pvc vm network get VM shows them")
    if len(fitting) > 1:
        macs = ", ".join(mac_of(nic) for nic in fitting)
        raise CliError(
            f"The VM has {len(fitting)} network cards {what}.", help=f"choose one with --mac-address: {macs}"
        )
    alone = text_of(fitting[0])
    remove_device(fitting[0])
    return whole_text_of(root), alone


def is_on(nic: Element, network: str, sriov: bool) -> bool:
    source = nic.find("source")
    if sriov:
        named = nic.find("sriov_device")
        return network in (source.get("dev") if source is not None else None, named.text if named is not None else None)
    return source is not None and source.get("bridge") == bridge_of(network)


def mac_of(nic: Element) -> str:
    element = nic.find("mac")
    return element.get("address", "").lower() if element is not None else ""
