"""What this machine is, for its node record."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path

from pvc_core import __version__
from pvc_core.model.node import DaemonState, NodeSeen, PluginSeen
from pvc_core.schema.records import LEVEL


def node_facts(
    node: str,
    incarnation: str,
    plugins: Callable[[], tuple[PluginSeen, ...]],
    state: Callable[[], DaemonState],
    custody: str,
) -> NodeSeen:
    return NodeSeen(
        name=node,
        incarnation=incarnation,
        daemon_state=state(),
        custody=custody,
        cpu_count=os.cpu_count() or 1,
        memory_total_bytes=memory_total_bytes(),
        kernel=platform.release(),
        os="GNU/Linux",
        arch=platform.machine(),
        pvc_version=__version__,
        level=LEVEL,
        plugins=plugins(),
    )


def memory_total_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0
