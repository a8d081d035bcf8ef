# SPDX-License-Identifier: LGPL-3.0-or-later
"""A node: what is wanted of it, what its guard says every second, what its daemon sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class DaemonState(StrEnum):
    INIT = "init"
    RUN = "run"
    SHUTDOWN = "shutdown"
    STOP = "stop"
    DEAD = "dead"
    FENCED = "fenced"


class CoordinatorState(StrEnum):
    CLIENT = "client"
    SECONDARY = "secondary"
    PRIMARY = "primary"
    TAKEOVER = "takeover"
    RELINQUISH = "relinquish"


class DomainState(StrEnum):
    READY = "ready"
    FLUSH = "flush"
    FLUSHED = "flushed"
    UNFLUSH = "unflush"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWanted:
    name: str
    domain_state: DomainState = DomainState.READY
    """READY or FLUSHED: where it should get to."""
    asked_by: str = ""
    order: str = ""
    """Names the last request, as its task does: what one order tried is not mistaken for what the next has to."""
    leaving: str = ""
    """The incarnation that is being shut down: its guests leave, and those that cannot are shut down."""
    hurry: bool = False
    """While leaving: time is up, all guests that are left are shut down."""
    back_to: DomainState = DomainState.READY
    """While leaving: what shall be wanted of the node when it is back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Sent by pvcguard every second. `beat` grows with each; `incarnation` changes with each boot of the node only."""

    node: str
    incarnation: str
    beat: int
    limit_s: float = 8.0
    """Self-fence limit that this very heartbeat promises (design rule 7)."""
    armed: bool = False
    watchdog_s: float = 0.0
    """Time after which a hardware watchdog resets the machine if the guard is silent; 0: none."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Host network -> the node's address there: where its guard answers directly."""
    back_in_s: float = 0.0
    """The guard is being stopped in order and means to be back by then: its silence is announced. 0: it goes on."""
    condemned: bool = False
    """Not the guard's: the judge writes it with its verdict over the last heartbeat it saw (model/verdict.py)."""
    memory_total_bytes: int = 0
    memory_free_bytes: int = 0
    """What the kernel calls available."""
    load: float = 0.0
    cpu_count: int = 0
    interfaces: dict[str, dict[str, object]] = field(default_factory=dict)
    """By device: rx_bps, rx_pps, tx_bps, tx_pps, total_bps, total_pps, link_speed, state."""
    told_s: float | None = None
    """How old what pvcnoded told was, when this was sent: all that follows. None: it has told nothing since boot."""
    running: tuple[str, ...] = ()
    """UUIDs of guests."""
    memory_allocated_bytes: int = 0
    memory_provisioned_bytes: int = 0
    vcpus_allocated: int = 0

    @property
    def memory_used_bytes(self) -> int:
        return self.memory_total_bytes - self.memory_free_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePeer:
    """Where a node's peer channel answers, and which certificate is its own. Written by the node when it starts."""

    name: str
    address: str
    port: int
    certificate: str
    """Serial number in hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedNode:
    """A certificate of a node that was removed: nobody answers who shows it."""

    name: str
    certificate: str
    at_s: float = 0.0
    asked_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSeen:
    """Written by pvcnoded when something changes, not by the second."""

    name: str
    incarnation: str = ""
    daemon_state: DaemonState = DaemonState.INIT
    custody: str = ""
    """Why the daemon starts, stops and moves nothing; "" when it works normally."""
    domain_state: DomainState = DomainState.FLUSHED
    machine_uuid: str = ""
    """The machine's own (SMBIOS), in lower case with hyphens; "" when it is not known, or not one of its own."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Host network -> this node's address there, without prefix."""
    cpu_count: int = 0
    memory_total_bytes: int = 0
    kernel: str = ""
    os: str = ""
    arch: str = ""
    pvc_version: str = ""
    level: int = 1
    """The highest level of records this daemon understands (schema/records.py)."""
    plugins: tuple[PluginSeen, ...] = ()
    health: tuple[HealthSeen, ...] = ()
    sentence: str = ""
    order_done: str = ""
    """NodeWanted.order of the last one that was carried out to its end."""
    left: bool = False
    """This incarnation was shut down on purpose: no guest runs here, and it starts none any more. Its silence is no
    reason to fence it.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginSeen:
    """One plugin as loaded on a node; `state` is active, broken or custody, `reason` says why it is not active."""

    name: str
    distribution: str
    version: str
    api_low: int
    api_high: int
    state: str = "active"
    reason: str = ""
    roles: tuple[str, ...] = ()
    capabilities: dict[str, bool | str | int] = field(default_factory=dict)
    actions: tuple[ActionSeen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSeen:
    name: str
    help: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSeen:
    """One result of `pvc_collect_health`: `delta` is how many points of 100 it costs the node."""

    plugin: str
    delta: int
    message: str
    at_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStats:
    """What changes often, one record per node and interval: counters of guests. Of a node without any, none."""

    node: str
    at_s: float = 0.0
    guests: dict[str, dict[str, object]] = field(default_factory=dict)
    """By UUID: GuestStats as plain data, ready for the wire."""
