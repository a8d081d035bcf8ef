"""A node's functions: found in sysfs, set over netlink. What they are for is driver.py's.

sysfs: Documentation/PCI/pci-iov-howto and ABI/testing/sysfs-bus-pci of the kernel (sriov_numvfs, virtfnN); netlink:
IFLA_VFINFO_LIST of linux/if_link.h, shown when asked with RTEXT_FILTER_VF.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pvc_core.errors import Permanent, Retry
from pvc_net_sriov.words import LINK_STATES, NO_MAC, Settings, Virtual, kernel_words

FILTER_VF = 1
"""RTEXT_FILTER_VF."""
WHOLE = "vfio-pci"
"""The driver of a function that a guest has whole."""
_LACKING = (95, 93)
"""EOPNOTSUPP, EPROTONOSUPPORT."""


class Functions:
    """`open` gives a netlink socket; `sys` is where sysfs is."""

    def __init__(self, open: Callable[[], Any] = IPRoute, sys: Path = Path("/sys")) -> None:
        self._open, self._net = open, sys / "class" / "net"

    def count(self, pf: str) -> int:
        """How many virtual functions it has now. Raises Retry (no such device), Permanent (it can have none)."""
        if not (self._net / pf).exists():
            raise Retry(f"there is no network device {pf} on this node", again_in_s=5.0)
        try:
            return int((self._net / pf / "device" / "sriov_numvfs").read_text())
        except OSError:
            raise Permanent(
                f"{pf} cannot be divided: it has no SR-IOV",
                help="is it switched on in the firmware, and does the NIC's driver know it?",
            ) from None

    def make(self, pf: str, wanted: int) -> None:
        """Of a NIC that has none yet. Raises Permanent with the kernel's words."""
        place = self._net / pf / "device"
        try:
            place.joinpath("sriov_numvfs").write_text(str(wanted))
        except OSError as error:
            most = _read(place / "sriov_totalvfs") or "?"
            raise Permanent(
                f"{pf} was not divided into {wanted} virtual functions: {error.strerror}; it can have {most}",
                help="lower vfcount; the IOMMU may have to be switched on (intel_iommu=on)",
            ) from None

    def mtu(self, device: str) -> int:
        return int(_read(self._net / device / "mtu") or 0)

    def set_link(self, device: str, *, mtu: int = 0) -> bool:
        """Up, and with this MTU if one is given; True if anything was changed. Raises Retry."""
        try:
            with self._open() as ip:
                link = ip.get_links(ip.link_lookup(ifname=device)[0])[0]
                wanted = mtu or link.get("ifla_mtu")
                if link.get("ifla_mtu") == wanted and link["state"] == "up":
                    return False
                ip.link("set", index=link["index"], mtu=wanted, state="up")
                return True
        except (NetlinkError, IndexError) as error:
            raise Retry(f"{device} was not set up: {error}", again_in_s=2.0) from None

    def virtual(self, pf: str) -> list[Virtual]:
        """By their number. Raises Retry."""
        places = sorted(
            (self._net / pf / "device").glob("virtfn*"), key=lambda one: int(one.name.removeprefix("virtfn"))
        )
        try:
            with self._open() as ip:
                links = {link.get("ifla_ifname"): link for link in ip.get_links()}
                if pf not in links:
                    raise Retry(f"there is no network device {pf} on this node", again_in_s=5.0)
                said = _said(ip.get_links(links[pf]["index"], ext_mask=FILTER_VF)[0])
        except NetlinkError as error:
            raise Retry(f"the kernel did not tell of the functions of {pf}: {error}", again_in_s=2.0) from None
        lower = {link.get("ifla_link") for link in links.values()}
        return [_virtual(pf, int(one.name.removeprefix("virtfn")), one.resolve(), links, lower, said) for one in places]

    def set(self, one: Virtual, wanted: Settings, *, mac: str | None = None) -> bool:
        """True if anything was changed. Raises Permanent for what the NIC lacks, Retry."""
        words = kernel_words(one.settings, wanted)
        if mac is not None and mac != one.mac:
            words.insert(0, {"mac": mac})
        try:
            with self._open() as ip:
                for word in words:
                    self._tell(ip, one, word)
        except NetlinkError as error:
            raise Retry(f"the kernel did not set {one.name}: {error}", again_in_s=2.0) from None
        return bool(words)

    def _tell(self, ip: Any, one: Virtual, word: dict[str, Any]) -> None:
        try:
            ip.link("set", index=ip.link_lookup(ifname=one.pf)[0], vf={"vf": one.number, **word})
        except NetlinkError as error:
            if error.code not in _LACKING and error.code != 22:
                raise
            (name,) = word
            what = "does not know this setting" if error.code in _LACKING else "does not take this value"
            raise Permanent(f"{one.pf}'s driver {what} of {one.name}: {name}", help="leave it as it is") from None


def _virtual(
    pf: str, number: int, place: Path, links: dict[str, Any], lower: set[int], said: dict[int, dict[str, Any]]
) -> Virtual:
    netdev = next((one.name for one in sorted((place / "net").glob("*"))), "") if (place / "net").exists() else ""
    link, words = links.get(netdev), said.get(number, {})
    driver = (place / "driver").resolve().name if (place / "driver").exists() else ""
    return Virtual(
        name=netdev or f"{pf}v{number}",
        pf=pf,
        number=number,
        pci=place.name,
        netdev=netdev if link is not None else "",
        mtu=link.get("ifla_mtu") if link is not None else 0,
        own_mac=link.get("ifla_address") if link is not None else "",
        mac=words.get("mac", NO_MAC),
        settings=words.get("settings", Settings()),
        used=driver == WHOLE or (link is not None and (link["index"] in lower or bool(link.get("ifla_master")))),
    )


def _said(link: Any) -> dict[int, dict[str, Any]]:
    """Number -> what the physical function says of it."""
    found = {}
    listed = link.get_attr("IFLA_VFINFO_LIST")
    for info in listed.get_attrs("IFLA_VF_INFO") if listed else ():
        words = {name: info.get_attr(name) or {} for name in ("IFLA_VF_MAC", "IFLA_VF_VLAN", "IFLA_VF_RATE")}
        flags = {
            name: (info.get_attr(f"IFLA_VF_{word}") or {}).get(word.lower(), 0)
            for name, word in (
                ("spoof", "SPOOFCHK"),
                ("trust", "TRUST"),
                ("state", "LINK_STATE"),
                ("rss", "RSS_QUERY_EN"),
            )
        }
        found[words["IFLA_VF_MAC"]["vf"]] = {
            "mac": words["IFLA_VF_MAC"]["mac"],
            "settings": Settings(
                vlan_id=words["IFLA_VF_VLAN"].get("vlan", 0),
                vlan_qos=words["IFLA_VF_VLAN"].get("qos", 0),
                tx_rate_min=words["IFLA_VF_RATE"].get("min_tx_rate", 0),
                tx_rate_max=words["IFLA_VF_RATE"].get("max_tx_rate", 0),
                link_state=LINK_STATES[flags["state"]] if flags["state"] < len(LINK_STATES) else LINK_STATES[0],
                spoof_check=flags["spoof"] == 1,  # a driver that knows none says all ones
                trust=flags["trust"] == 1,
                query_rss=flags["rss"] == 1,
            ),
        }
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
