"""The primary keeps a record of each fault (policy/faults.py) from when it is seen until it is over.

An acknowledgement lasts as long as the fault; one that was deleted comes back with the next look if it is still so. In
maintenance none is added or changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Add, Drop, Set, Write
from pvc_core.model.fault import Fault
from pvc_core.model.view import ClusterView, Kept
from pvc_core.policy.faults import faults_of
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

LOOK_S, NOTE_S = 10.0, 300.0
"""Between two looks; how old `last_s` may be of a fault that goes on unchanged."""
AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class FaultsReconciler:
    """`silent`: nodes that the judge on this node does not hear and may not give up, with the reason."""

    ground: Ground
    silent: Callable[[], Mapping[str, str]] = dict
    kind: str = "faults"

    def keys(self, view: ClusterView) -> Iterable[str]:
        return (layout.ONLY,) if self.ground.is_primary() else ()

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        return layout.ONLY if found and found[0] is layout.LEADER else None

    def step(self, key: str) -> Outcome:
        view = self.ground.view
        if not self.ground.is_primary() or not view.fresh or view.maintenance:
            return Outcome("", LOOK_S)
        now_s = self.ground.clock.wall_s()
        found = faults_of(view, self.ground.descriptions.of, self.silent())
        writes = list(_writes(found, view.faults, now_s))[:AT_ONCE]
        if writes:
            self.ground.commit(self.ground.lead(), *writes)
        return Outcome("", LOOK_S)

    def note(self, key: str, outcome: Outcome) -> None:
        """Shown by the records themselves."""


def _writes(found: dict[str, Fault], kept: Mapping[str, Kept[Fault]], now_s: float) -> Iterable[Write]:
    for id, fault in found.items():
        old = kept.get(id)
        if old is None:
            yield Add(layout.FAULTS, id, replace(fault, first_s=now_s, last_s=now_s))
        elif _changed(old.value, fault) or now_s - old.value.last_s >= NOTE_S:
            new = replace(fault, first_s=old.value.first_s, last_s=now_s, acked_s=old.value.acked_s)
            yield Set(layout.FAULTS, id, new, old.version)
    for id, old in kept.items():
        if id not in found:
            yield Drop(layout.FAULTS, id, old.version)


def _changed(old: Fault, new: Fault) -> bool:
    return (old.weight, old.message) != (new.weight, new.message)
