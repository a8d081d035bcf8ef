# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pools, volumes and their snapshots."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pvc_core.model.fault import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Wanted. `options` are the driver's own, checked by its schema; the wire's tier, pgs and copies are kept as
    given.
    """

    name: str
    driver: str
    options: dict[str, str] = field(default_factory=dict)
    tier: str = "default"
    pgs: int = 1
    replcfg: str = ""
    asked_by: str = ""


class VolumePhase(StrEnum):
    CREATING = "creating"
    """Its task has not finished; not shown as usable, removed with all debris if the task fails."""
    READY = "ready"
    REMOVING = "removing"
    """A tombstone: the bytes may be destroyed, and nothing else by anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    name: str
    id: str
    size_bytes: int
    created_at_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """`id` is made by PVC once and never used again; `home` is the one node that has the bytes, "" in a shared pool.

    A volume once READY is never created again by anybody: missing bytes are an error to report.
    """

    id: str
    pool: str
    name: str
    size_bytes: int
    format: str = ""
    """The driver's word ("raw", "qcow2"); "" is the driver's choice."""
    home: str = ""
    phase: VolumePhase = VolumePhase.READY
    task: str = ""
    """The task at work on it, "" if none: only one at a time."""
    snapshots: tuple[Snapshot, ...] = ()
    created_at_s: float = 0.0
    parent: str = ""
    """Id of the volume whose data it shares, "" for none."""

    @property
    def ref(self) -> str:
        return f"{self.pool}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUsage:
    """Seen. `free_bytes` is what new data may still use; `used_bytes` what the pool's data takes on disk."""

    total_bytes: int
    used_bytes: int
    free_bytes: int
    stored_bytes: int
    """As the guests see it: the sum of data written, without copies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFound:
    """A volume as the driver finds it. `id` is "" for one that PVC did not make (it can be adopted)."""

    name: str
    size_bytes: int
    used_bytes: int
    format: str
    id: str = ""
    snapshots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageReport:
    """What a driver tells of all of its storage at once, collected by the primary. Plain data under the wire's names;
    nothing is decided by it.
    """

    driver: str
    status: str = ""
    """For people's eyes, like `utilization`."""
    utilization: str = ""
    pools: dict[str, dict[str, int | float]] = field(default_factory=dict)
    """Counters by pool."""
    volumes: dict[str, int] = field(default_factory=dict)
    """By "POOL/VOLUME": bytes in use."""
    osds: tuple[dict[str, Any], ...] = ()
    flags: tuple[str, ...] = ()
    """Set for the whole cluster, as "noout"."""
    faults: tuple[Fault, ...] = ()
    """What is wrong; without times."""
    benchmarks: tuple[dict[str, Any], ...] = ()
    """Measured before, oldest first."""
    at_s: float = 0.0
    """Wall time of its collection, for people."""
    usage: dict[str, PoolUsage] = field(default_factory=dict)
    """By pool: how full it is. A node does not measure what stands here."""
    silent: str = ""
    """Why there are no newer figures than those of `at_s`; "" while there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSeen:
    """One record per node: what its drivers see of the pools."""

    node: str
    pools: dict[str, PoolUsage] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    """By pool: why it cannot be used here, in words."""
    shared: dict[str, bool] = field(default_factory=dict)
    """By pool: whether this node has proved that it sees what the others wrote."""
