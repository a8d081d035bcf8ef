"""What this machine is, for its node record."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from pvc_core import __version__
from pvc_core.config import Config
from pvc_core.model.node import DaemonState, NodeSeen, PluginSeen
from pvc_core.schema.records import LEVEL

DMI = Path("/sys/class/dmi/id/product_uuid")
"""The SMBIOS system UUID, as Linux shows it to root."""
NOBODYS = (
    UUID(int=0),
    UUID(int=2**128 - 1),
    UUID("03000200-0400-0500-0006-000700080009"),
    UUID("12345678-1234-5678-90ab-cddeefaabbcc"),
)
"""What boards carry whose maker never set one."""


def node_facts(
    config: Config,
    incarnation: str,
    plugins: Callable[[], tuple[PluginSeen, ...]],
    state: Callable[[], DaemonState],
    custody: str,
) -> NodeSeen:
    return NodeSeen(
        name=config.node,
        incarnation=incarnation,
        daemon_state=state(),
        custody=custody,
        machine_uuid=machine_uuid(config.paths.secrets.with_name("machine-uuid"), DMI),
        addresses={name: str(net.address.ip) for name, net in config.host_networks.items() if net.address},
        cpu_count=os.cpu_count() or 1,
        memory_total_bytes=memory_total_bytes(),
        kernel=platform.release(),
        os="GNU/Linux",
        arch=platform.machine(),
        pvc_version=__version__,
        level=LEVEL,
        plugins=plugins(),
    )


def machine_uuid(*places: Path) -> str:
    """Of the first of these files that holds one; "" when none does. /etc/pvc/machine-uuid is for boards that have no
    UUID of their own: what stands there must be what the machine's BMC calls itself.
    """
    for place in places:
        try:
            found = UUID(place.read_text().strip())
        except (OSError, ValueError):
            continue
        if found not in NOBODYS:
            return str(found)
    return ""


def memory_total_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0
