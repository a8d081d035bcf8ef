"""Every key of the store, and who may write it. docs/store-layout.md shows the same table; a test holds them equal.

/pvc/state is what is configured and who runs what: every daemon keeps it in memory. /pvc/live changes every second or
so, one record per node: only pvcapid and the primary watch it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from pvc_core.model.audit import AuditPage
from pvc_core.model.cluster import (
    ApiKey,
    BackupNote,
    Era,
    Leader,
    Lease,
    Level,
    NameIndex,
    PrimaryWanted,
    RollCall,
    Settings,
    Tombstone,
)
from pvc_core.model.fault import Fault
from pvc_core.model.network import Network, NetworkSeen
from pvc_core.model.node import Heartbeat, NodePeer, NodeSeen, NodeStats, NodeWanted, RemovedNode
from pvc_core.model.storage import Pool, StorageReport, StorageSeen, Volume
from pvc_core.model.task import Task
from pvc_core.model.verdict import KeptProof, Verdict, Vouch
from pvc_core.model.vm import Claim, VmSeen, VmWanted

T = TypeVar("T")

ROOT = "/pvc"
STATE = "/pvc/state"
LIVE = "/pvc/live"
PLUGINS = "/pvc/plugins"


@dataclass(frozen=True, slots=True, eq=False)
class Kind(Generic[T]):
    """One kind of record. `by_api`: the API's identity may write it too; all others only the nodes' own.

    There is one object of each, compared by identity: every change of any key is held against several.
    """

    name: str
    prefix: str
    record: type[T]
    by_api: bool = False

    def key(self, id: str) -> str:
        return f"{self.prefix}/{id}"


ERA = Kind("era", f"{STATE}/era", Era)
ROLL_CALLS = Kind("roll call", f"{STATE}/roll-calls", RollCall)
LEVEL = Kind("level", f"{STATE}/level", Level)
BACKUPS = Kind("backup note", f"{STATE}/backups", BackupNote, by_api=True)
SETTINGS = Kind("settings", f"{STATE}/settings", Settings, by_api=True)
LEADER = Kind("leader", f"{STATE}/leader", Leader)
PRIMARY_WANTED = Kind("primary wanted", f"{STATE}/primary-wanted", PrimaryWanted, by_api=True)
NODE_WANTED = Kind("node wanted", f"{STATE}/node-wanted", NodeWanted, by_api=True)
NODE_SEEN = Kind("node seen", f"{STATE}/node-seen", NodeSeen)
NODE_PEERS = Kind("node peer", f"{STATE}/node-peers", NodePeer)
REMOVED = Kind("removed node", f"{STATE}/removed-nodes", RemovedNode)
STORAGE_SEEN = Kind("storage seen", f"{STATE}/storage-seen", StorageSeen)
VM_WANTED = Kind("vm wanted", f"{STATE}/vm-wanted", VmWanted, by_api=True)
VM_NAMES = Kind("vm name", f"{STATE}/vm-names", NameIndex, by_api=True)
CLAIMS = Kind("claim", f"{STATE}/claims", Claim)
VM_SEEN = Kind("vm seen", f"{STATE}/vm-seen", VmSeen)
TOMBSTONES = Kind("tombstone", f"{STATE}/tombstones", Tombstone, by_api=True)
POOLS = Kind("pool", f"{STATE}/pools", Pool, by_api=True)
VOLUMES = Kind("volume", f"{STATE}/volumes", Volume, by_api=True)
NETWORKS = Kind("network", f"{STATE}/networks", Network, by_api=True)
NETWORK_SEEN = Kind("network seen", f"{STATE}/network-seen", NetworkSeen)
TASKS = Kind("task", f"{STATE}/tasks", Task, by_api=True)
KEYS = Kind("key", f"{STATE}/keys", ApiKey, by_api=True)
VERDICTS = Kind("verdict", f"{STATE}/verdicts", Verdict)
PROOFS = Kind("proof", f"{STATE}/proofs", KeptProof)
VOUCHES = Kind("vouch", f"{STATE}/vouches", Vouch, by_api=True)
FAULTS = Kind("fault", f"{STATE}/faults", Fault, by_api=True)
HEARTBEATS = Kind("heartbeat", f"{LIVE}/heartbeats", Heartbeat)
LEASE = Kind("lease", f"{LIVE}/lease", Lease)
STATS = Kind("stats", f"{LIVE}/stats", NodeStats)
STORAGE_REPORTS = Kind("storage report", f"{LIVE}/storage-reports", StorageReport)
AUDIT = Kind("audit page", f"{LIVE}/audit", AuditPage, by_api=True)
"""Nobody keeps it in memory: it is read when somebody asks for it."""

KINDS: tuple[Kind, ...] = (
    ERA, ROLL_CALLS, LEVEL, BACKUPS,
    SETTINGS, LEADER, PRIMARY_WANTED, NODE_WANTED, NODE_SEEN, NODE_PEERS, REMOVED, STORAGE_SEEN, VM_WANTED,
    VM_NAMES, CLAIMS, VM_SEEN, TOMBSTONES, POOLS, VOLUMES, TASKS, KEYS, VERDICTS, PROOFS, VOUCHES, FAULTS, HEARTBEATS,
    LEASE, STATS, STORAGE_REPORTS, AUDIT, NETWORKS, NETWORK_SEEN,
)  # fmt: skip

ONLY = "cluster"
"""The id of kinds that have one record only (era, settings, leader, primary wanted, lease)."""

_by_prefix = {kind.prefix: kind for kind in KINDS}


def split(key: str) -> tuple[Kind, str] | None:
    """(kind, id) of a record's key; None for a directory or a plugin's own key."""
    prefix, _, id = key.rpartition("/")
    kind = _by_prefix.get(prefix)
    return (kind, id) if kind and id else None


def by_api(key: str) -> bool:
    """Whether the API's identity may create, write and delete this key (or, for a kind's directory, below it)."""
    kind = _by_prefix.get(key) or _by_prefix.get(key.rpartition("/")[0])
    return kind is not None and kind.by_api


def volume_id(pool: str, name: str) -> str:
    """A volume's id in the store. Neither name can hold "@" (pvc_core.ids)."""
    return f"{pool}@{name}"
