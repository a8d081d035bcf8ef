"""What this plugin tells the node's health: pools that are getting full."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from pvc_core.hookspecs import hookimpl
from pvc_core.model.check import CheckLine
from pvc_core.model.node import HealthSeen
from pvc_storage_dir.faults import free_bytes, readable, total_bytes

_LEVELS = ((95, 50), (80, 10))
"""(more than so many percent used, costs so many points)."""


class Health:
    """`pools` gives the directory of each pool in use on this node, by name."""

    def __init__(self, pools: Callable[[], Mapping[str, str]]) -> None:
        self._pools = pools

    @hookimpl
    def pvc_collect_health(self) -> list[HealthSeen]:
        findings = (_finding(name, directory) for name, directory in sorted(self._pools().items()))
        return [one for one in findings if one]

    @hookimpl
    def pvc_collect_check(self) -> list[CheckLine]:
        return [_line(name, directory) for name, directory in sorted(self._pools().items())]


def _line(name: str, directory: str) -> CheckLine:
    found = _finding(name, directory)
    total, free = total_bytes(directory), free_bytes(directory)
    if found is not None and found.delta >= _LEVELS[0][1]:
        return CheckLine(topic="disk space", ok=False, text=found.message, remedy="make room, or give the pool more")
    text = f'pool "{name}": {readable(free)} of {readable(total)} free in {directory}'
    return CheckLine(topic="disk space", text=text)


def _finding(name: str, directory: str) -> HealthSeen | None:
    if not os.path.isdir(os.path.join(directory, ".pvc")):
        message = f'the files of pool "{name}" are not in {directory}; is its file system mounted?'
        return HealthSeen(plugin="storage_dir", delta=50, message=message)
    total, free = total_bytes(directory), free_bytes(directory)
    used_percent = 100 * (total - free) // total if total else 100
    for limit, delta in _LEVELS:
        if used_percent > limit:
            message = (
                f'pool "{name}" is {used_percent} % full: {readable(free)} of {readable(total)} are free in {directory}'
            )
            return HealthSeen(plugin="storage_dir", delta=delta, message=message)
    return None
