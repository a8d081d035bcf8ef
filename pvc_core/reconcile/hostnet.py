"""This host's own networks, upstream, cluster and storage: made and kept as pvc.yaml says, without the store.

What has to be done to a link is hostnet/network.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pvc_core.config.sections import HostNetwork
from pvc_core.errors import Permanent
from pvc_core.hostnet.network import bridge_name, ensure_network
from pvc_core.model.node import HealthSeen
from pvc_core.model.view import ClusterView
from pvc_core.reconcile.outcome import Outcome

LOOK_S, AGAIN_S = 15.0, 5.0
FAULT_DELTA = 25


@dataclass(frozen=True, slots=True)
class HostNetReconciler:
    """One key per network of pvc.yaml. Does not ask the store: without the cluster network there would be none."""

    networks: Mapping[str, HostNetwork]
    ensure: Callable[[str, HostNetwork], list[str]] = ensure_network
    kind: str = "hostnet"
    _faults: dict[str, str] = field(default_factory=dict)

    def keys(self, view: ClusterView) -> Iterable[str]:
        return self.networks

    def concerned(self, store_key: str) -> str | None:
        return None

    def step(self, key: str) -> Outcome:
        wanted = self.networks[key]
        try:
            changes = self.ensure(key, wanted)
        except Permanent as error:
            self._faults[key] = str(error)
            return Outcome(str(error), AGAIN_S)
        self._faults.pop(key, None)
        address = f" with {wanted.address}" if wanted.address else ""
        made = f": {', '.join(changes)}" if changes else ""
        return Outcome(f"{bridge_name(key)} over {wanted.device}{address}{made}", LOOK_S)

    def note(self, key: str, outcome: Outcome) -> None:
        """Faults are shown in the node's health."""

    def health(self) -> Sequence[HealthSeen]:
        """What a person must mend on this host."""
        return [
            HealthSeen(plugin="hostnet", delta=FAULT_DELTA, message=fault) for _, fault in sorted(self._faults.items())
        ]
