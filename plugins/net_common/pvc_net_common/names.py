# SPDX-License-Identifier: LGPL-3.0-or-later
"""The names of devices. Pure. A port's name carries its MAC, so that after every restart it is known whose it is."""

from __future__ import annotations

import re

_TAP = re.compile(r"tap([0-9a-f]{12})")


def bridge_name(vni: int) -> str:
    """On every node alike: definitions of VMs name it."""
    return f"vmbr{vni}"


def tap_name(mac: str) -> str:
    """The host's side of the guest's NIC; 15 characters, the most a device may have (IFNAMSIZ)."""
    return f"tap{mac.replace(':', '').lower()}"


def mac_of(tap: str) -> str | None:
    """None for a device that is not called so."""
    match = _TAP.fullmatch(tap)
    return ":".join(match[1][at : at + 2] for at in range(0, 12, 2)) if match else None
