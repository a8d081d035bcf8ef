# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where a VXLAN device sends what has no known place: to a list of other nodes, kept here and by nobody else.

FRR, where it runs, takes up every VXLAN device of the machine (`advertise-all-vni` has no exception), and takes their
lists away when its bgpd dies, also those it did not make (seen with 8.4). An entry that names the device by which it
leaves is another than the one zebra deletes; so these stay.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

EVERYBODY = "00:00:00:00:00:00"
"""Entries of this address in a VXLAN device say where goes what has no place known (man bridge, fdb)."""
PERMANENT, SELF = 0x80, 0x02
"""NUD_PERMANENT and NTF_SELF of linux/neighbour.h."""
Flood = tuple[str, int]
"""(a node's address, the device by which it is reached; 0: as the routes say)."""


class Floods:
    """The lists of this node's VXLAN devices, read once and remembered. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[int, set[Flood]] | None = None

    def ensure(self, ip: Any, vxlans: Iterable[str], nodes: Collection[str], via: int, *, anew: bool = False) -> bool:
        """The devices of these names, as far as they are there, send to `nodes` (addresses) by the device with index
        `via`, and to nobody else. True if anything was changed. `anew`: the kernel is asked what there is.

        `ip`: a netlink socket in the node's namespace. Raises NetlinkError.
        """
        wanted = {(node, via) for node in nodes}
        with self._lock:
            try:
                if anew or self._known is None:
                    self._known = _read(ip)
                found = [index for name in vxlans for index in ip.link_lookup(ifname=name)]
                return bool([index for index in found if _changed(ip, index, self._known, wanted)])
            except NetlinkError:
                self._known = None
                raise


def _read(ip: Any) -> dict[int, set[Flood]]:
    """Of all devices at once: the kernel gives no part of it, and pyroute2's own filter takes the device by which an
    entry leaves for the one it belongs to.
    """
    found: dict[int, set[Flood]] = {}
    for entry in ip.fdb("dump"):
        if entry.get_attr("NDA_LLADDR") == EVERYBODY and entry.get_attr("NDA_DST"):
            flood = (entry.get_attr("NDA_DST"), entry.get_attr("NDA_IFINDEX") or 0)
            found.setdefault(entry["ifindex"], set()).add(flood)
    return found


def _changed(ip: Any, vxlan: int, known: dict[int, set[Flood]], wanted: set[Flood]) -> bool:
    there = known.get(vxlan, set())
    for verb, some in (("append", wanted - there), ("del", there - wanted)):
        for node, device in some:
            more = {"NDA_IFINDEX": device} if device else {}
            ip.fdb(verb, ifindex=vxlan, lladdr=EVERYBODY, dst=node, state=PERMANENT, flags=SELF, **more)
    known[vxlan] = {*wanted}
    return there != wanted
