"""Networks on this node: each is made here, and taken down when it is removed; one record per node says which are
usable. The primary lets go of a removed network's record when every node has taken it down.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Drop
from pvc_core.contracts.network import NetworkDriver
from pvc_core.errors import Conflict, Permanent, Refused, Retry
from pvc_core.model.network import Network, NetworkPhase, NetworkSeen
from pvc_core.model.view import ClusterView, Kept
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

LOOK_S, CALL_S, GONE_S = 15.0, 15.0, 1.0


@dataclass(slots=True)
class _Seen:
    """What this node says of its networks, until it is written."""

    usable: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class NetworkReconciler:
    ground: Ground
    kind: str = "network"
    _seen: _Seen = field(default_factory=_Seen)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Networks are stepped on several threads, and all write the one record."""

    def keys(self, view: ClusterView) -> Iterable[str]:
        return {*view.networks, *self._seen.usable, *self._seen.faults}

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        return found[1] if found and found[0] is layout.NETWORKS else None

    def step(self, key: str) -> Outcome:
        kept = self.ground.view.networks.get(key)
        if kept is None:
            self._say(key)
            return Outcome("")
        if kept.value.phase is NetworkPhase.REMOVING:
            return self._remove(key, kept)
        return self._ensure(key, kept.value)

    def note(self, key: str, outcome: Outcome) -> None:
        """Shown in NetworkSeen."""

    def _ensure(self, key: str, network: Network) -> Outcome:
        try:
            driver = driver_of(self.ground.networks, network)
            self.ground.calls(
                f"network/{key}", f"making network {network.ref}", CALL_S,
                lambda: driver.ensure_network(network, deadline_s=CALL_S),
            )  # fmt: skip
        except (Permanent, Refused) as error:
            self._say(key, fault=str(error))
            return Outcome(f"network {network.ref} cannot be made here: {error}", LOOK_S)
        except Retry as error:  # it does not work as long as this lasts, a trunk that is away or FRR that starts
            self._say(key, fault=str(error))
            raise
        self._say(key, usable=network.id)
        return Outcome(f"network {network.ref} is usable", LOOK_S)

    def _remove(self, key: str, kept: Kept[Network]) -> Outcome:
        network = kept.value
        if network.id not in self._seen.gone:
            try:
                driver = driver_of(self.ground.networks, network)
                self.ground.calls(
                    f"network/{key}", f"removing network {network.ref}", CALL_S,
                    lambda: driver.remove_network(network, deadline_s=CALL_S),
                )  # fmt: skip
            except (Permanent, Refused) as error:
                self._say(key, fault=str(error))
                return Outcome(f"network {network.ref} cannot be removed here: {error}", LOOK_S)
        self._say(key, gone=network.id)
        waiting = self._not_gone(network)
        if waiting or not self.ground.is_primary():
            return Outcome(f"network {network.ref} is removed here", GONE_S)
        self.ground.commit(self.ground.lead(), Drop(layout.NETWORKS, key, kept.version))
        return Outcome("")

    def _not_gone(self, network: Network) -> list[str]:
        view = self.ground.view
        said = {name for name, kept in view.network_seen.items() if network.id in kept.value.gone}
        return sorted(view.node_seen.keys() - said)

    def _say(self, key: str, *, usable: str = "", fault: str = "", gone: str = "") -> None:
        """What became true of network `key`; nothing said: it is not there any more."""
        with self._lock:
            seen = self._seen
            for table, word in ((seen.usable, usable), (seen.faults, fault)):
                if word:
                    table[key] = word
                else:
                    table.pop(key, None)
            if gone:
                seen.gone.add(gone)
            seen.gone &= {kept.value.id for kept in self.ground.view.networks.values()}
            self._tell()

    def _tell(self) -> None:
        node, old = self.ground.node, self.ground.view.network_seen.get(self.ground.node)
        seen = self._seen
        new = NetworkSeen(node=node, usable=dict(seen.usable), faults=dict(seen.faults), gone=tuple(sorted(seen.gone)))
        if old is None and new == NetworkSeen(node=node):
            return
        if old is None or old.value != new:
            try:
                self.ground.repository.save(layout.NETWORK_SEEN, node, new, old)
            except Conflict:  # the picture was late; another step says it again
                self.ground.keeper.settle([layout.NETWORK_SEEN.key(node)], inline=self.ground.inline)
                raise
            self.ground.keeper.settle([layout.NETWORK_SEEN.key(node)], inline=self.ground.inline)


def driver_of(networks: Mapping[str, NetworkDriver], network: Network) -> NetworkDriver:
    """Raises Permanent when no plugin of this node makes networks of that type."""
    found = networks.get(network.nettype)
    if found is None:
        raise Permanent(
            f"no plugin of this node makes {network.nettype} networks",
            help=f"name one in its pvc.yaml, under use.networks.{network.nettype}",
        )
    return found
