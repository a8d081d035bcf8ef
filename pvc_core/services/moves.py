"""Where a VM shall live: what is written when somebody asks for another node, after what forbids it has been looked at.

The VM's own node carries it out and answers (reconcile/moving.py). A migration is for a while (`last_node` keeps where
it came from), a move for good.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pvc_core.errors import Refused, Retry
from pvc_core.model.view import Kept
from pvc_core.model.vm import VmSeen, VmWanted, Want
from pvc_core.policy.placement import choose_node, crowded, destination, loads, need_of, objection
from pvc_core.services.desk import Desk


@dataclass(frozen=True, slots=True)
class Moves:
    """Each answers with the changes of VmWanted to be written. Raises Refused with the reason, Invalid (no such
    node).
    """

    desk: Desk

    def move(self, kept: Kept[VmWanted], node: str | None, *, live_only: bool) -> dict[str, Any]:
        """For good. To the node where it lives: a migration becomes permanent, one that is asked for is called off."""
        here = self._home(kept.value)
        if node != here:
            return self._request(kept, self._target(kept, node), last_node=None, live_only=live_only)
        if destination(self.desk.view, kept.value.uuid) is not None:
            return self._request(kept, here, last_node=kept.value.last_node, live_only=live_only)
        if self.migrated_from(kept.value) is None:
            raise Refused(f"VM {kept.value.name} lives on {here} already")
        return {"last_node": None}

    def migrate(self, kept: Kept[VmWanted], node: str | None, *, force: bool, live_only: bool) -> dict[str, Any]:
        """For a while. With `force` also one that is migrated already; it still comes from where it first did."""
        here, came_from = self._home(kept.value), self.migrated_from(kept.value)
        if came_from is not None and not force:
            raise Refused(
                f"VM {kept.value.name} is migrated already, from {came_from} to {here}",
                help="bring it back with `pvc vm unmigrate`, or use force",
            )
        if node == here:
            raise Refused(f"VM {kept.value.name} lives on {here} already")
        return self._request(
            kept, self._target(kept, node, force=force), last_node=came_from or here, live_only=live_only
        )

    def unmigrate(self, kept: Kept[VmWanted], *, live_only: bool) -> dict[str, Any]:
        self._home(kept.value)
        came_from = self.migrated_from(kept.value)
        if came_from is None:
            raise Refused(f"VM {kept.value.name} is not migrated")
        return self._request(kept, self._target(kept, came_from), last_node=came_from, live_only=live_only)

    def migrated_from(self, vm: VmWanted) -> str | None:
        claim = self.desk.view.claims.get(vm.uuid)
        return vm.last_node if claim is not None and vm.last_node != claim.value.holder else None

    def answered(self, uuid: str, request: int) -> VmSeen | None:
        """What its node said to this request, or a later one; None while it has said nothing."""
        seen = self.desk.view.vm_seen.get(uuid)
        return seen.value if seen is not None and seen.value.move_done >= request else None

    def _request(self, kept: Kept[VmWanted], target: str, **changes: Any) -> dict[str, Any]:
        return {"move": kept.value.move + 1, "target": target, "move_order": "", "move_tried": (), **changes}

    def _home(self, vm: VmWanted) -> str:
        claim, nodes = self.desk.view.claims.get(vm.uuid), sorted(self.desk.view.node_seen)
        if len(nodes) == 1:
            raise Refused(f"VM {vm.name} cannot move: {nodes[0]} is the only node")
        if claim is None:
            raise Retry(f"VM {vm.name} has no node yet", help="it is given one by the primary; try again in a moment")
        return claim.value.holder

    def _target(self, kept: Kept[VmWanted], node: str | None, *, force: bool = False) -> str:
        """The node asked for, or the best one, if it may live there; with `force` also with whom it shall be apart."""
        vm, view = kept.value, self.desk.view
        here, description = self._home(vm), self.desk.descriptions.of(vm)
        self._demand_free(vm, here)
        need = need_of(view, vm, description)
        if vm.want is not Want.START:
            need = replace(need, memory_bytes=0)  # one that stays off needs no room
        if node is None:
            choice = choose_node(view, need, self.desk.descriptions.of, exclude={here: "it lives there"})
            if choice.node is None:
                raise Refused(f"VM {vm.name} cannot leave {here}: it {choice.sentence}")
            return choice.node
        self.desk.node_known(node)
        load = loads(view, self.desk.descriptions.of, besides=vm.uuid)
        why = objection(view, need, node, load)
        if not force:
            why = why or crowded(view, need, node, self.desk.descriptions.of, load)
        if why:
            raise Refused(f"VM {vm.name} cannot move to {node}: {why}")
        return node

    def _demand_free(self, vm: VmWanted, here: str) -> None:
        """Nothing it needs may exist on its node only."""
        view, description = self.desk.view, self.desk.descriptions.of(vm)
        for ref in description.volumes:
            volume = view.volume(ref)
            if volume is not None and volume.value.home:
                raise Refused(
                    f"VM {vm.name} cannot leave {here}: its volume {ref} is on {volume.value.home} only, "
                    f"pool {volume.value.pool} is not shared",
                    help="copy the volume into a shared pool",
                )
        if not description.failover:
            raise Refused(
                f"VM {vm.name} cannot leave {here}: it uses {'; '.join(description.outside)}",
                help="take that out of its definition",
            )
