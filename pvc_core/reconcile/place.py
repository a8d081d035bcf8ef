"""On the primary: give each VM a node, move the claim of one that cannot start where it is, forget those to be
removed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.layout import volume_id
from pvc_core.cluster.repository import Add, Drop, Set, Unchanged, Write
from pvc_core.errors import Conflict
from pvc_core.model.node import DaemonState
from pvc_core.model.storage import Volume, VolumePhase
from pvc_core.model.task import Task
from pvc_core.model.view import ClusterView, Kept
from pvc_core.model.vm import Claim, Phase, VmWanted, Want
from pvc_core.policy.placement import choose_node, crowded, destination, loads, need_of, objection
from pvc_core.policy.standstill import first_generation
from pvc_core.reconcile.engine import EVERY
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.moving import carried
from pvc_core.reconcile.outcome import Outcome

REMOVE_AGAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class PlaceReconciler:
    ground: Ground
    kind: str = "place"
    _known: dict[str, VmWanted] = field(default_factory=dict)
    """As hooks were last told of it."""

    def keys(self, view: ClusterView) -> Iterable[str]:
        return view.vm_wanted.keys() if self.ground.is_primary() else ()

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        if found and found[0] is layout.LEADER:
            return EVERY  # whoever becomes primary looks at all that waited for one
        return found[1] if found and found[0] in (layout.VM_WANTED, layout.CLAIMS) else None

    def step(self, key: str) -> Outcome:
        view = self.ground.view
        wanted, claim = view.vm_wanted.get(key), view.claims.get(key)
        if wanted is None:
            self._known.pop(key, None)
            return Outcome("")
        if not self.ground.is_primary() or not view.fresh:
            return Outcome("")
        if wanted.value.want is Want.REMOVE:
            return self._remove(wanted, claim)
        if claim is None:
            return self._place(wanted)
        self._tell_changes(wanted.value)
        if claim.value.phase is Phase.FREE and (target := self._asked_for(key, claim.value.holder)):
            self.ground.commit(
                self.ground.lead(),
                Set(layout.CLAIMS, key, carried(claim.value, target), claim.version),
                Unchanged(layout.VM_WANTED, key, wanted.version),
            )
            return Outcome(f"moved to {target} as asked; {claim.value.holder} does not answer")
        if wanted.value.want is Want.START and claim.value.phase is Phase.FREE:
            return self._better_place(wanted, claim)
        return Outcome("")

    def note(self, key: str, outcome: Outcome) -> None:
        """Nothing to show: what became of it stands in the claim."""

    def _place(self, wanted: Kept[VmWanted]) -> Outcome:
        vm, view = wanted.value, self.ground.view
        need = need_of(view, vm, self.ground.descriptions.of(vm))
        choice = choose_node(view, need, self.ground.descriptions.of)
        node = vm.node if vm.node in view.node_seen else choice.node
        if node is None and vm.want is not Want.START:
            node = next(iter(need.homes), None) or next(iter(sorted(view.node_seen)), None)
        if node is None:
            return Outcome(choice.sentence, 5.0)
        self.ground.commit(
            self.ground.lead(),
            # Generations only grow, also for a UUID that is used again and over the store's eras.
            Add(
                layout.CLAIMS,
                vm.uuid,
                Claim(uuid=vm.uuid, holder=node, generation=first_generation(view, wanted.stamp)),
            ),
            Unchanged(layout.VM_WANTED, vm.uuid, wanted.version),
        )
        self._known[vm.uuid] = vm
        self.ground.hooks.notify("pvc_vm_defined", key=vm.uuid, vm=vm)
        return Outcome(f"placed on {node}")

    def _asked_for(self, uuid: str, holder: str) -> str | None:
        """Where a VM that is off shall live, when its holder is not there to do it (otherwise that does: moving.py)."""
        seen = self.ground.view.node_seen.get(holder)
        if seen is not None and seen.value.daemon_state is DaemonState.RUN:
            return None
        return destination(self.ground.view, uuid)

    def _better_place(self, wanted: Kept[VmWanted], claim: Kept[Claim]) -> Outcome:
        """A free claim may move: nobody executes the guest, and the write that moves it also bars the old holder's
        start.
        """
        vm, view = wanted.value, self.ground.view
        need = need_of(view, vm, self.ground.descriptions.of(vm))
        here, load = claim.value.holder, loads(view, self.ground.descriptions.of, besides=vm.uuid)
        why = objection(view, need, here, load) or crowded(view, need, here, self.ground.descriptions.of, load)
        if not why:
            return Outcome("")
        choice = choose_node(view, need, self.ground.descriptions.of, exclude={here: why}, load=load)
        if choice.node is None:
            self._tell(vm.uuid, choice.sentence)
            return Outcome(choice.sentence, 10.0)
        moved = replace(claim.value, holder=choice.node, incarnation="", generation=claim.value.generation + 1)
        self.ground.commit(self.ground.lead(), Set(layout.CLAIMS, vm.uuid, moved, claim.version))
        return Outcome(choice.sentence)

    def _tell(self, uuid: str, sentence: str) -> None:
        """With the VM, too: its holder knows why it does not start there, if it is alive, and not why nowhere else."""
        seen = self.ground.view.vm_seen.get(uuid)
        if seen is None or seen.value.sentence == sentence:
            return
        try:
            said = replace(seen.value, sentence=sentence)
            self.ground.commit(self.ground.lead(), Set(layout.VM_SEEN, uuid, said, seen.version))
        except Conflict:
            return  # its holder tells something newer; said again with the next look

    def _remove(self, wanted: Kept[VmWanted], claim: Kept[Claim] | None) -> Outcome:
        """Its holder has let go of it (a free claim): forget it, after its volumes if they shall go too."""
        vm, view = wanted.value, self.ground.view
        if claim is not None and claim.value.phase is Phase.TASK:
            return Outcome(f"VM {vm.name} is removed when task {claim.value.request_id} on its volume has ended")
        if claim is not None and claim.value.phase is not Phase.FREE:
            return Outcome(f"waiting for {claim.value.holder} to switch VM {vm.name} off")
        waiting = self._remove_volumes(vm) if vm.delete_disks else ""
        if waiting:
            return Outcome(waiting, 1.0)
        writes: list[Write] = [Drop(layout.VM_WANTED, vm.uuid, wanted.version)]
        others: tuple[tuple[Any, str, Any], ...] = (
            (layout.VM_NAMES, vm.name, view.vm_names),
            (layout.CLAIMS, vm.uuid, view.claims),
            (layout.VM_SEEN, vm.uuid, view.vm_seen),
        )
        for kind, id, table in others:
            if id in table:
                writes.append(Drop(kind, id, table[id].version))
        self.ground.commit(self.ground.lead(), *writes)
        self._known.pop(vm.uuid, None)
        self.ground.hooks.notify("pvc_vm_removed", key=vm.uuid, vm=vm)
        return Outcome(f"VM {vm.name} is removed")

    def _remove_volumes(self, vm: VmWanted) -> str:
        """Submit the removal of each volume that no other VM names; "" when all are gone."""
        view = self.ground.view
        described = self.ground.descriptions.of(vm).volumes
        others = {
            ref
            for kept in view.vm_wanted.values()
            if kept.value.uuid != vm.uuid
            for ref in self.ground.descriptions.of(kept.value).volumes
        } | {ref for ref, _ in self.ground.users(described, besides=vm.uuid)}
        waiting = []
        for ref in described:
            kept = view.volume(ref)
            if kept is not None and ref not in others:
                waiting.append(self._remove_volume(vm, kept))
        return f"VM {vm.name} is removed after its volumes: {'; '.join(waiting)}" if waiting else ""

    def _remove_volume(self, vm: VmWanted, kept: Kept[Volume]) -> str:
        """Submit its removal if none is under way; after one that failed, a minute later. How far it is."""
        ref, last = kept.value.ref, self.ground.view.tasks.get(kept.value.task)
        if busy := self.ground.busy(kept.value):
            return busy
        tried = last is not None and last.value.kind == "volume.remove"
        if last is not None and tried and self.ground.clock.wall_s() - last.value.ended_at_s < REMOVE_AGAIN_S:
            return f"{ref} could not be removed ({last.value.status}); it is tried again"
        new = Task(
            id=self.ground.new_task_id(),
            kind="volume.remove",
            node=kept.value.home,
            args={"pool": kept.value.pool, "name": kept.value.name},
            asked_by=vm.asked_by,
            asked_at_s=self.ground.clock.wall_s(),
            status=f"removing volume {ref} of VM {vm.name}",
        )
        gone = replace(kept.value, phase=VolumePhase.REMOVING, task=new.id)
        self.ground.commit(
            self.ground.lead(),
            Set(layout.VOLUMES, volume_id(kept.value.pool, kept.value.name), gone, kept.version),
            Add(layout.TASKS, new.id, new),
        )
        return new.status

    def _tell_changes(self, vm: VmWanted) -> None:
        """Definition or metadata changed since hooks were last told; a new state asked for is no change of the VM."""
        old, self._known[vm.uuid] = self._known.get(vm.uuid), vm
        if old is not None and _lasting(old) != _lasting(vm):
            self.ground.hooks.notify("pvc_vm_changed", key=vm.uuid, vm=vm)


def _lasting(vm: VmWanted) -> VmWanted:
    return replace(vm, want=Want.STOP, asked=0, restart=0, force=False, asked_by="", asked_at_s=0.0)
