"""Counters of all guests in one call of libvirt's (virConnectGetAllDomainStats), in PVC's words."""

from __future__ import annotations

from collections.abc import Mapping

import libvirt

from pvc_core.model.vm import GuestStats

KINDS = (
    libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
# NOWAIT: a guest that is busy with something else is told without the counters that need its monitor.
FLAGS = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT

_DISK = {"rd.reqs": "rd_req", "rd.bytes": "rd_bytes", "wr.reqs": "wr_req", "wr.bytes": "wr_bytes"}
_NIC = {
    f"{theirs}.{what}": f"{ours}_{word}"
    for theirs, ours in (("rx", "rd"), ("tx", "wr"))
    for what, word in (("bytes", "bytes"), ("pkts", "packets"), ("errs", "errors"), ("drop", "drops"))
}
_MEMORY = {"current": "actual", "last-update": "last_update"}


def guest_stats(uuid: str, raw: Mapping[str, object], taps: Mapping[str, str]) -> GuestStats:
    """`taps` maps tap device names to MACs."""
    return GuestStats(
        uuid=uuid,
        cpu_time_ns=_number(raw, "cpu.time"),
        user_time_ns=_number(raw, "cpu.user"),
        system_time_ns=_number(raw, "cpu.system"),
        memory=_memory(raw),
        disks=_members(raw, "block", _DISK, {}),
        nics=_members(raw, "net", _NIC, taps),
    )


def _memory(raw: Mapping[str, object]) -> dict[str, int]:
    found = {}
    for key in raw:
        group, _, name = key.partition(".")
        if group == "balloon" and name != "maximum":
            found[_MEMORY.get(name, name)] = _number(raw, key)
    return found


def _members(
    raw: Mapping[str, object], group: str, words: Mapping[str, str], renamed: Mapping[str, str]
) -> dict[str, dict[str, int]]:
    """By name: `group.N.name` and the counters beside it. With `renamed`, only what it names."""
    found: dict[str, dict[str, int]] = {}
    for index in range(_number(raw, f"{group}.count")):
        name = str(raw.get(f"{group}.{index}.name", ""))
        name = renamed.get(name, "") if group == "net" else name
        if name:
            found[name] = {ours: _number(raw, f"{group}.{index}.{theirs}") for theirs, ours in words.items()}
    return found


def _number(raw: Mapping[str, object], key: str) -> int:
    value = raw.get(key, 0)
    return value if isinstance(value, int) else 0
