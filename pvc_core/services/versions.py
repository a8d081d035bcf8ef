"""Which record an object of the API stands on, so that a change can be bound to the version somebody read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.layout import Kind, volume_id
from pvc_core.model.view import ClusterView, Kept

NONE_YET = -1
"""No record has this version."""


@dataclass(frozen=True, slots=True)
class Version:
    """A record as it was read. `stamp` is never given twice, even to a record that was removed and made again."""

    kind: Kind[Any]
    id: str
    version: int
    stamp: int


def version_of(view: ClusterView, names: Mapping[str, str]) -> Version | None:
    """Of the object that `names` (vm, vni, pool, volume, node, key, fault_id) mean; None when it has no record.

    A snapshot stands on its volume's record, a network's leases and ACLs on the network's. A node of which nothing was
    ever asked is there without one: its stamp is 0.
    """
    kind, id, kept = _record(view, names) or (None, "", None)
    if kind is layout.NODE_WANTED and kept is None and id in view.node_seen:
        return Version(kind, id, NONE_YET, 0)
    return None if kind is None or kept is None else Version(kind, id, kept.version, kept.stamp)


def _record(view: ClusterView, names: Mapping[str, str]) -> tuple[Kind[Any], str, Kept[Any] | None] | None:
    match names:
        case {"vm": ref}:
            vm = view.vm(ref)
            return (layout.VM_WANTED, vm.value.uuid, vm) if vm else None
        case {"vni": ref}:
            network = view.network(ref)
            return (layout.NETWORKS, str(network.value.vni), network) if network else None
        case {"pool": pool, "volume": volume}:
            return layout.VOLUMES, volume_id(pool, volume), view.volume(f"{pool}/{volume}")
        case {"pool": pool}:
            return layout.POOLS, pool, view.pools.get(pool)
        case {"node": node}:
            return layout.NODE_WANTED, node, view.node_wanted.get(node)
        case {"key": key}:
            return layout.KEYS, key, view.keys.get(key)
        case {"fault_id": id}:
            fault = view.faults.get(id) or view.faults.get(id.upper())
            return (layout.FAULTS, fault.value.id, fault) if fault else None
    return None
