"""What services answer with: records put together as people see them. What goes out on the wire is the API's
business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pvc_core.model.network import Network
from pvc_core.model.node import CoordinatorState, DaemonState, Heartbeat, NodeSeen, NodeStats, NodeWanted
from pvc_core.model.storage import Pool, PoolUsage, Volume
from pvc_core.model.vm import Claim, Description, GuestState, Phase, VmSeen, VmWanted, Want
from pvc_core.policy.placement import NodeLoad


@dataclass(frozen=True, slots=True, kw_only=True)
class VmPicture:
    """One VM, whole. `stamp` changes whenever any of its records does (not with statistics): an ETag for its body."""

    wanted: VmWanted
    version: int
    claim: Claim | None
    seen: VmSeen | None
    description: Description
    stats: dict[str, object] | None
    stamp: tuple[int, int, int]

    @property
    def state(self) -> str:
        return vm_state(self.wanted, self.claim, self.seen)

    @property
    def node(self) -> str:
        return self.claim.holder if self.claim else ""

    @property
    def last_node(self) -> str:
        """Where a migrated VM came from; "" when it lives where it belongs."""
        return self.wanted.last_node if self.wanted.last_node and self.wanted.last_node != self.node else ""

    @property
    def runs(self) -> bool:
        return self.seen is not None and self.seen.guest is GuestState.RUNNING

    @property
    def answered(self) -> bool:
        """The last request to live elsewhere was met or given up."""
        return self.wanted.move <= (self.seen.move_done if self.seen else 0)

    @property
    def not_moved(self) -> str:
        """Why it was given up; "" when it was met, or waits for its answer."""
        return self.seen.move_reason if self.seen and self.seen.move_done == self.wanted.move else ""

    @property
    def sentence(self) -> str:
        if self.seen and self.seen.sentence:
            return self.seen.sentence
        return "waiting for a node" if self.claim is None else f"waiting for {self.claim.holder}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmTally:
    """Which VMs there are and how they are, without what changes every few seconds."""

    vms: tuple[VmPicture, ...]
    """By name. Their statistics may be old."""
    states: Mapping[str, str]
    """By UUID."""
    counts: Mapping[str, int]
    """By state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePicture:
    wanted: NodeWanted | None
    seen: NodeSeen
    heartbeat: Heartbeat | None
    stats: NodeStats | None
    load: NodeLoad
    coordinator_state: CoordinatorState
    running: tuple[str, ...]
    """Names of the VMs that run there."""
    silent_s: float | None = None
    """How long its heartbeat has not moved; None where nobody follows it."""

    @property
    def health(self) -> int:
        """0 of a node that was lost: what it said of itself before says nothing now."""
        if self.seen.daemon_state in (DaemonState.DEAD, DaemonState.FENCED):
            return 0
        return max(0, 100 - sum(item.delta for item in self.seen.health))


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPicture:
    pool: Pool
    usage: PoolUsage | None
    volume_count: int
    shared: bool = False
    """As its options say; `fault` tells when it is not believed."""
    counters: Mapping[str, int | float] = field(default_factory=dict)
    """As its driver reports them; empty when it does not."""
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePicture:
    volume: Volume
    version: int
    users: tuple[str, ...]
    """Names of the VMs whose definitions name it."""
    used_bytes: int | None = None
    """None when its driver does not tell."""
    parent: str = ""
    """The volume whose data it shares, as POOL/VOLUME."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPicture:
    network: Network
    mtu: int
    """Bytes, also where the record leaves it to the driver; 0 where no plugin knows."""
    status: str
    """On which nodes it is usable, and where not, why."""


def vm_state(wanted: VmWanted, claim: Claim | None, seen: VmSeen | None) -> str:
    """The wire's one word for what is wanted and how far it has got."""
    off = (claim is None or claim.phase in (Phase.FREE, Phase.TASK)) and (seen is None or seen.guest is GuestState.OFF)
    match wanted.want:
        case Want.REMOVE:
            return "delete"
        case Want.DISABLE:
            return "disable" if off else "stop" if wanted.force else "shutdown"
        case Want.STOP:
            return "stop"
        case Want.SHUTDOWN:
            return "stop" if off else "shutdown"
    if claim is not None and claim.phase is Phase.MIGRATING:
        return "migrate"
    if seen is not None and seen.failed_asked == wanted.asked:
        return "fail"
    if claim is not None and wanted.move > (seen.move_done if seen else 0) and wanted.target != claim.holder:
        return "migrate"
    return "restart" if wanted.restart > (seen.restart_done if seen else 0) else "start"
