"""The cluster's level: raised by the primary when every node understands the next one, never lowered.

Removed nodes are waited for no more, silent ones are: an old daemon that comes back must find what it understands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Add, Set
from pvc_core.model.cluster import Level
from pvc_core.model.node import DaemonState
from pvc_core.model.view import ClusterView
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome


@dataclass(frozen=True, slots=True)
class LevelReconciler:
    ground: Ground
    kind: str = "level"

    def keys(self, view: ClusterView) -> Iterable[str]:
        return (layout.ONLY,) if self.ground.is_primary() else ()

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        return layout.ONLY if found and found[0] in (layout.NODE_SEEN, layout.LEADER, layout.LEVEL) else None

    def step(self, key: str) -> Outcome:
        view = self.ground.view
        if not self.ground.is_primary() or not view.fresh:
            return Outcome("")
        level = understood(view)
        if level <= view.level:
            return Outcome("")
        kept = view.levels.get(layout.ONLY)
        write = (
            Add(layout.LEVEL, layout.ONLY, Level(level=level))
            if kept is None
            else Set(layout.LEVEL, layout.ONLY, Level(level=level), kept.version)
        )
        self.ground.commit(self.ground.lead(), write)
        return Outcome(f"every node understands level {level}: the cluster is raised to it")

    def note(self, key: str, outcome: Outcome) -> None:
        """Shown by the record itself."""


def understood(view: ClusterView) -> int:
    """The highest level that every member understands; a fenced node is none until it has come back."""
    nodes = [kept.value for kept in view.node_seen.values() if kept.value.daemon_state is not DaemonState.FENCED]
    return min((node.level for node in nodes), default=1)
