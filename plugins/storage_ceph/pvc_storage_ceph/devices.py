"""Disks of this node: which one a "detect:NAME:SIZE:NUMBER" means, and whether it is free."""

from __future__ import annotations

import json
import os
from typing import Any

from pvc_core.contracts.plugin import PluginContext
from pvc_core.errors import Permanent, Refused
from pvc_core.units import parse_size_bytes

_NEAR = 0.04
"""Makers round: a disk may be this much smaller or larger than what is printed on it."""


def named(context: PluginContext, device: str) -> str:
    """The device itself. Raises Refused saying what there is."""
    if device.startswith("/dev/disk/"):
        return os.path.realpath(device)  # ceph-volume tells disks by their kernel's names
    if not device.startswith("detect:"):
        return device
    _word, name, size, number = device.split(":")
    disks = _disks(context)
    wanted = _decimal(size)
    found = [
        disk
        for disk in disks
        if name.lower() in f"{disk.get('vendor') or ''} {disk.get('model') or ''}".lower()
        and abs(int(disk["size"]) - wanted) <= _NEAR * wanted
    ]
    if int(number) >= len(found):
        there = ", ".join(f"/dev/{disk['name']} ({disk.get('model') or 'no model'}, {disk['size']})" for disk in disks)
        raise Refused(
            f"{device} names no disk of {context.node.name}: {len(found)} are so called and so large",
            help=f"disks here: {there or 'none'}",
        )
    return f"/dev/{found[int(number)]['name']}"


def _decimal(text: str) -> int:
    """800GB as on a disk's label, or 745Gi."""
    upper = text.upper()
    if upper.endswith("B") and not upper.endswith("IB"):
        for power, unit in enumerate(("KB", "MB", "GB", "TB", "PB"), 1):
            if upper.endswith(unit):
                return int(float(upper[:-2]) * 1000**power)
    return parse_size_bytes(upper.removesuffix("IB").removesuffix("I"))


def _disks(context: PluginContext) -> list[dict[str, Any]]:
    argv = ["lsblk", "--json", "--bytes", "--nodeps", "--output", "NAME,SIZE,TYPE,VENDOR,MODEL"]
    done = context.run(argv, deadline_s=30.0)
    if done.returncode:
        raise Permanent(f"the disks of {context.node.name} could not be listed: {done.stderr.strip()}")
    found = json.loads(done.stdout or "{}").get("blockdevices", [])
    return sorted((disk for disk in found if disk["type"] in ("disk", "loop")), key=lambda disk: str(disk["name"]))
