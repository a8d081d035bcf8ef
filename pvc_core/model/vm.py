# SPDX-License-Identifier: LGPL-3.0-or-later
"""A virtual machine: what is wanted of it, who may run it (the claim), what its node sees, and what its definition
says.

Three records with one writer each: VmWanted (services), Claim (whoever design rule 1 allows, by compare-and-set),
VmSeen (the holder's node). Description is not stored: it is what the compute plugin reads out of a definition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Want(StrEnum):
    """What an operator asked for. Everything else that the wire calls a state is derived from what is seen."""

    START = "start"
    SHUTDOWN = "shutdown"
    """Off, by asking the guest; by force when it has not obeyed within its limit."""
    STOP = "stop"
    """Off, at once."""
    DISABLE = "disable"
    """Off and not missed: does not count against health."""
    REMOVE = "remove"
    """Off, then forgotten."""


class Selector(StrEnum):
    """How a node is chosen among those that may run the VM."""

    MEM = "mem"
    MEMPROV = "memprov"
    VCPUS = "vcpus"
    LOAD = "load"
    VMS = "vms"
    NONE = "none"


class MigrationMethod(StrEnum):
    LIVE = "live"
    SHUTDOWN = "shutdown"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    name: str
    type: str = "user"
    protected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VmWanted:
    """Written by services only. `definition` is the user's text, byte for byte, in the compute driver's language."""

    uuid: str
    name: str
    definition: str
    want: Want = Want.STOP
    asked: int = 0
    """Grows with every request about `want`; a start that failed is tried again when this has grown."""
    restart: int = 0
    """Grows with every request to restart; the node answers with VmSeen.restart_done."""
    force: bool = False
    """For STOP and DISABLE: do not ask the guest first."""
    node: str | None = None
    """A node the user named; None leaves it to placement."""
    node_limit: tuple[str, ...] = ()
    node_selector: Selector | None = None
    priority: int = 0
    """Guests of a lost node start again in this order, the greatest first."""
    autostart: bool = False
    migration_method: MigrationMethod | None = None
    migration_max_downtime_ms: int = 300
    tags: tuple[Tag, ...] = ()
    profile: str | None = None
    user_data: str = ""
    """For the guest's own first start (cloud-init), told by the metadata service of managed networks."""
    move: int = 0
    """Grows with every request to live elsewhere; its node answers with VmSeen.move_done."""
    target: str | None = None
    """Where the last such request wants it to live."""
    last_node: str | None = None
    """Where a migrated VM came from: it is migrated while its claim's holder is another."""
    live_only: bool = False
    """The last request to move forbids to shut it down for it."""
    move_order: str = ""
    """The flush, ready or rebalance that made the last request to move (its task); "" when a person did."""
    move_tried: tuple[str, ...] = ()
    """Nodes that this order has asked for in vain."""
    delete_disks: bool = False
    asked_by: str = ""
    asked_at_s: float = 0.0


class Phase(StrEnum):
    """Who may execute the guest now."""

    FREE = "free"
    """Nobody. `holder` is where it lives and would start."""
    RUN = "run"
    """The holder, in the named incarnation."""
    MIGRATING = "migrating"
    """Only the holder (the source) still; `target` prepares for a paused copy and receives it."""
    TASK = "task"
    """Nobody: `holder`'s task needs the guest off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """The target is prepared for a guest (`ticket`), or will not be (`refused` says why)."""

    incarnation: str
    """The target's."""
    ticket: str = ""
    """What the source's compute driver needs to know; only compute drivers read it."""
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The run record: one guest executes on at most one node because each start is a successful write on this."""

    uuid: str
    holder: str
    incarnation: str = ""
    """The boot of `holder` that this claim was written by; it is void for any other."""
    generation: int = 0
    """Only grows, with every write."""
    phase: Phase = Phase.FREE
    target: str | None = None
    """With MIGRATING: where it goes. With RUN: the holder itself, while the guest may be a paused copy that the holder
    has yet to resume, by another write on this claim.
    """
    departing: str = ""
    """With MIGRATING: the guest's definition as it is now, for the target to prepare for."""
    arrival: Arrival | None = None
    """With MIGRATING: the target's answer to `departing`."""
    volumes: tuple[str, ...] = ()
    """"POOL/VOLUME", listed before attach and until after detach."""
    addresses: tuple[str, ...] = ()
    """Storage client addresses of the guest, for fencing."""
    request_id: str = ""
    """Names the write, so that a Conflict with oneself is recognised."""


class GuestState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    OFF = "off"
    """The driver says so *and* no process carries the UUID."""
    UNKNOWN = "unknown"
    """Could not be found out; nothing may be concluded from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSeen:
    """Written by the claim's holder. `sentence` is the reconciler's last word: the log line and the API's `status`."""

    uuid: str
    node: str
    guest: GuestState = GuestState.OFF
    sentence: str = ""
    failed_reason: str = ""
    failed_asked: int = -1
    """VmWanted.asked of the request that failed for good; -1 when none did."""
    restart_done: int = 0
    move_done: int = 0
    """VmWanted.move of the last request to move that was met, or given up."""
    move_reason: str = ""
    """Why that one was given up; "" when it was met."""
    crashes: int = 0
    """Guests ended without being asked to, since the last one that stayed up."""
    vnc_listen: str = ""
    vnc_port: int = 0
    started_at_s: float = 0.0
    anew_why: str = ""
    """Why its guest was last begun anew though nobody had asked for it: its node was lost, or restarted, or it had
    ended by itself. Kept when it runs again, for whoever asks later what happened; "" when that never was.
    """
    anew_at_s: float = 0.0
    """Unix time of that, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NicSpec:
    """One network interface of a definition.

    `kind` is "bridge", "direct" or "hostdev"; `network` is a VNI as text or a host network ("upstream", "cluster",
    "storage"), None if the source is neither. `mac` is always set: one not given is derived from UUID and position.
    """

    kind: str
    mac: str
    source: str
    model: str = ""
    network: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpec:
    """One disk of a definition.

    `volume` is "POOL/VOLUME" when the source is a volume of PVC's (whatever the pool's driver; the wire writes it as
    an rbd
    network disk), else None and `path` says what on the host is used.
    """

    dev: str
    bus: str
    kind: str
    volume: str | None = None
    path: str | None = None
    read_only: bool = False
    device: str = "disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a definition says, read by the compute plugin. Facts about the text only; nothing of the world."""

    name: str
    uuid: str | None
    memory_bytes: int
    vcpus: int
    description: str = ""
    vcpu_topology: str = ""
    """"sockets/cores/threads"."""
    nics: tuple[NicSpec, ...] = ()
    disks: tuple[DiskSpec, ...] = ()
    type: str = "hvm"
    arch: str = ""
    machine: str = ""
    console: str = ""
    vnc_listen: str = ""
    vnc_port: str = ""
    emulator: str = ""
    features: tuple[str, ...] = ()
    controllers: tuple[tuple[str, str | None], ...] = ()
    """(type, model)."""
    outside: tuple[str, ...] = ()
    """What it uses of the host beyond pools and networks (host files, devices, QEMU arguments), in words."""
    failover: bool = True
    """False when something it needs exists on one node only (see `outside`)."""
    admin_only: tuple[str, ...] | None = None
    """What only an admin may ask for: all that reaches beyond pools and networks, in words that name it. None: this
    plugin does not tell, and `outside` stands for it.
    """

    @property
    def reaches(self) -> tuple[str, ...]:
        return self.outside if self.admin_only is None else self.admin_only

    @property
    def volumes(self) -> tuple[str, ...]:
        return tuple(disk.volume for disk in self.disks if disk.volume)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestStats:
    """One guest's counters since it started. Sizes in bytes unless the wire's own key says KiB (memory)."""

    uuid: str
    cpu_time_ns: int = 0
    user_time_ns: int = 0
    system_time_ns: int = 0
    memory: dict[str, int] = field(default_factory=dict)
    """libvirt's names ("actual", "rss", "unused", ...), KiB."""
    disks: dict[str, dict[str, int]] = field(default_factory=dict)
    """By target device: rd_req, rd_bytes, wr_req, wr_bytes."""
    nics: dict[str, dict[str, int]] = field(default_factory=dict)
    """By MAC: rd_bytes, rd_packets, rd_errors, rd_drops and the same with wr_."""
