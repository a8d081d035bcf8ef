# SPDX-License-Identifier: LGPL-3.0-or-later
"""The whole cluster at one moment, as policies and services see it. Built by pvc_core.cluster.view; never changed in
place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pvc_core.model.cluster import (
    ApiKey,
    BackupNote,
    Era,
    Leader,
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


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """A record with the version to write over it and the stamp that orders it among all changes."""

    value: T
    version: int
    stamp: int = 0


@dataclass(frozen=True, slots=True)
class Unread:
    """A record that this PVC does not understand: it decides nothing on it, and writes nothing over it."""

    what: str
    """Its kind and id, like "vm wanted 8f2c..."."""
    schema: int
    known: int
    stamp: int

    def __str__(self) -> str:
        return f"{self.what} (schema {self.schema}, known here: {self.known})"


@dataclass(frozen=True, kw_only=True)
class ClusterView:
    """Records by id: VMs by UUID, volumes by "POOL@NAME" (cluster.layout.volume_id), all else by name or id.

    Without slots, so that `changed` can copy it at once.
    """

    era: Mapping[str, Kept[Era]] = field(default_factory=dict)
    roll_calls: Mapping[str, Kept[RollCall]] = field(default_factory=dict)
    levels: Mapping[str, Kept[Level]] = field(default_factory=dict)
    backups: Mapping[str, Kept[BackupNote]] = field(default_factory=dict)
    leader: Mapping[str, Kept[Leader]] = field(default_factory=dict)
    settings: Mapping[str, Kept[Settings]] = field(default_factory=dict)
    primary_wanted: Mapping[str, Kept[PrimaryWanted]] = field(default_factory=dict)
    node_wanted: Mapping[str, Kept[NodeWanted]] = field(default_factory=dict)
    node_seen: Mapping[str, Kept[NodeSeen]] = field(default_factory=dict)
    node_peers: Mapping[str, Kept[NodePeer]] = field(default_factory=dict)
    removed_nodes: Mapping[str, Kept[RemovedNode]] = field(default_factory=dict)
    """By the certificate's serial number."""
    storage_seen: Mapping[str, Kept[StorageSeen]] = field(default_factory=dict)
    vm_wanted: Mapping[str, Kept[VmWanted]] = field(default_factory=dict)
    vm_names: Mapping[str, Kept[NameIndex]] = field(default_factory=dict)
    claims: Mapping[str, Kept[Claim]] = field(default_factory=dict)
    vm_seen: Mapping[str, Kept[VmSeen]] = field(default_factory=dict)
    tombstones: Mapping[str, Kept[Tombstone]] = field(default_factory=dict)
    pools: Mapping[str, Kept[Pool]] = field(default_factory=dict)
    volumes: Mapping[str, Kept[Volume]] = field(default_factory=dict)
    networks: Mapping[str, Kept[Network]] = field(default_factory=dict)
    """By VNI, as text."""
    network_seen: Mapping[str, Kept[NetworkSeen]] = field(default_factory=dict)
    tasks: Mapping[str, Kept[Task]] = field(default_factory=dict)
    keys: Mapping[str, Kept[ApiKey]] = field(default_factory=dict)
    verdicts: Mapping[str, Kept[Verdict]] = field(default_factory=dict)
    """By model.verdict.life_id; so are the vouches. Proofs by KeptProof.id."""
    proofs: Mapping[str, Kept[KeptProof]] = field(default_factory=dict)
    vouches: Mapping[str, Kept[Vouch]] = field(default_factory=dict)
    faults: Mapping[str, Kept[Fault]] = field(default_factory=dict)
    heartbeats: Mapping[str, Kept[Heartbeat]] = field(default_factory=dict)
    stats: Mapping[str, Kept[NodeStats]] = field(default_factory=dict)
    storage_reports: Mapping[str, Kept[StorageReport]] = field(default_factory=dict)
    """By driver; only where /pvc/live is watched."""
    unread: Mapping[str, Unread] = field(default_factory=dict)
    """By key of the store: records that a newer PVC wrote. They are in none of the tables above."""
    fresh: bool = True
    """False while the store gives no answer: then this is how things were."""

    def changed(self, **fields: Any) -> ClusterView:
        """The same but for these. What dataclasses.replace answers, in a tenth of its time: every heartbeat of every
        node makes a new picture.
        """
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__, **fields)
        return new

    @property
    def primary(self) -> str:
        """The node that holds the lease; "" when none does."""
        return next((kept.value.node for kept in self.leader.values()), "")

    @property
    def primary_asked(self) -> str:
        """The node that was asked to be primary and is not yet; "" when there is no such request."""
        asked = next((kept.value for kept in self.primary_wanted.values()), None)
        done = max((kept.value.asked for kept in self.leader.values()), default=0)
        return asked.node if asked is not None and asked.asked > done else ""

    @property
    def level(self) -> int:
        return max((kept.value.level for kept in self.levels.values()), default=1)

    @property
    def unheard(self) -> tuple[str, ...]:
        """Nodes that have not said in this era what runs there; removed ones are waited for no more."""
        era = next((kept.value for kept in self.era.values()), None)
        if era is None:
            return ()
        said = {
            name for name, kept in self.roll_calls.items() if (kept.value.era, kept.value.era_id) == (era.era, era.id)
        }
        return tuple(sorted(name for name in era.nodes if name not in said and name in self.node_seen))

    @property
    def maintenance(self) -> bool:
        return any(kept.value.maintenance for kept in self.settings.values())

    def vm(self, name_or_uuid: str) -> Kept[VmWanted] | None:
        """By name first, then by UUID."""
        index = self.vm_names.get(name_or_uuid)
        return self.vm_wanted.get(index.value.uuid if index else name_or_uuid.lower())

    def network(self, vni_or_name: str) -> Kept[Network] | None:
        """By VNI first, then by name."""
        kept = self.networks.get(vni_or_name)
        return kept or next((one for one in self.networks.values() if one.value.name == vni_or_name), None)

    def volume(self, ref: str) -> Kept[Volume] | None:
        """By "POOL/VOLUME"."""
        pool, _, name = ref.partition("/")
        return self.volumes.get(f"{pool}@{name}")
