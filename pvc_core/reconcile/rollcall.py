"""What a node says of itself in a new era of the store: the guests that run there. Until all have, nobody starts or
stops anything (policy/standstill.py).

A guest that runs here and is known, but has no claim (the store was restored), is this node's: it gets a claim that
says so before the node answers, so that nobody else can start it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pvc_core.cluster import layout
from pvc_core.contracts.compute import Observation
from pvc_core.errors import Conflict, Exists
from pvc_core.model.cluster import RollCall
from pvc_core.model.view import ClusterView
from pvc_core.model.vm import Claim, GuestState, Phase
from pvc_core.policy.standstill import Served, first_generation, is_another
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

CALL_S, AGAIN_S = 10.0, 1.0


@dataclass(frozen=True, slots=True)
class RollCallReconciler:
    """`serve` keeps on this node's own disk which life of the store it serves."""

    ground: Ground
    serve: Callable[[Served], None]
    served: Callable[[], Served]
    kind: str = "roll call"

    def keys(self, view: ClusterView) -> Iterable[str]:
        return (self.ground.node,)

    def concerned(self, store_key: str) -> str | None:
        return self.ground.node if store_key == layout.ERA.key(layout.ONLY) else None

    def step(self, key: str) -> Outcome:
        view = self.ground.view
        kept, said = view.era.get(layout.ONLY), view.roll_calls.get(key)
        if kept is None or not view.fresh:
            return Outcome("", AGAIN_S)
        era = kept.value
        if era.restoring or is_another(era, self.served()):
            return Outcome("", AGAIN_S)
        if said is not None and (said.value.era, said.value.era_id) == (era.era, era.id):
            return Outcome("")
        guests = list_running(self.ground)
        for guest in guests:
            self._claim(guest)
        mine = RollCall(
            node=key,
            incarnation=self.ground.incarnation,
            era=era.era,
            era_id=era.id,
            guests=tuple(sorted(guest.uuid for guest in guests)),
        )
        self.ground.repository.save(layout.ROLL_CALLS, key, mine, self.ground.repository.find(layout.ROLL_CALLS, key))
        self.ground.keeper.settle([layout.ROLL_CALLS.key(key)], inline=self.ground.inline)
        self.serve(Served(era=era.era, id=era.id))
        return Outcome(f"told what runs here in era {era.era} of the store: {len(guests)} guests")

    def note(self, key: str, outcome: Outcome) -> None:
        """Shown by the record itself."""

    def _claim(self, guest: Observation) -> None:
        """Of a VM without one only: a claim that is there stays what it is."""
        wanted = self.ground.view.vm_wanted.get(guest.uuid)
        if wanted is None:
            return
        mine = Claim(
            uuid=guest.uuid,
            holder=self.ground.node,
            incarnation=self.ground.incarnation,
            phase=Phase.RUN,
            generation=first_generation(self.ground.view, wanted.stamp),
            volumes=self.ground.descriptions.of(wanted.value).volumes,
        )
        try:
            self.ground.repository.add(layout.CLAIMS, guest.uuid, mine)
        except (Exists, Conflict):
            return
        self.ground.keeper.settle([layout.CLAIMS.key(guest.uuid)], inline=self.ground.inline)
        self.ground.log.info("a guest that runs here got its claim back", object=f"vm/{guest.uuid}")


def list_running(ground: Ground) -> list[Observation]:
    """Every guest on this node that is not off. Raises Retry rather than leave one out."""
    there = ground.calls("list", "listing guests", CALL_S, lambda: ground.compute.list_guests(deadline_s=CALL_S))
    return [guest for guest in there if guest.guest is not GuestState.OFF]
