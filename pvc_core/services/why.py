"""`pvc node why`: why a node is in the state it is in, what it waits for, what cannot leave it, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.errors import PvcError
from pvc_core.model.node import CoordinatorState, DomainState
from pvc_core.model.vm import Phase
from pvc_core.services.desk import Desk
from pvc_core.services.nodes import NodeService
from pvc_core.services.pictures import NodePicture

ASK_S = 5.0
SHOWN = ("place", "pool", "flush", "hostnet", "primary", "leftovers", "strangers", "roll call", "task")
"""Kinds of work whose last sentence says something of the node; those of VMs stand with the VM."""


@dataclass(frozen=True, slots=True)
class WhyService:
    desk: Desk
    nodes: NodeService

    def node(self, name: str) -> list[str]:
        """Sentences, what matters most first. Raises NotFound."""
        node = self.nodes.get(name)
        return [*self._states(node), *self._health(node), *self._guests(node), *self._own(name)]

    def _states(self, node: NodePicture) -> Iterator[str]:
        seen, wanted = node.seen, node.wanted
        yield f"its daemon is in state {seen.daemon_state}: {seen.sentence or 'it has said nothing'}"
        if seen.custody:
            yield f"it is in custody, so it starts, stops and moves nothing: {seen.custody}"
        asked = wanted.domain_state if wanted else DomainState.READY
        by = f", as {wanted.asked_by} asked" if wanted and wanted.asked_by else ""
        is_, shall = seen.domain_state, f"shall be {asked}{by}"
        yield f"it is {is_} and {shall}" if is_ is asked else f"it is {is_}, and {shall}: it is not there yet"
        if node.coordinator_state is not CoordinatorState.CLIENT:
            yield f"as a coordinator it is {node.coordinator_state}"

    def _health(self, node: NodePicture) -> Iterator[str]:
        for item in node.seen.health:
            if item.delta:
                yield f"{item.plugin} takes {item.delta} of its 100 points of health: {item.message}"

    def _guests(self, node: NodePicture) -> Iterator[str]:
        """What holds it: every VM whose claim names it, if it is to be empty; else those that are not at rest."""
        view, name = self.desk.view, node.seen.name
        empties = node.wanted is not None and node.wanted.domain_state is DomainState.FLUSHED
        for uuid, claim in sorted(view.claims.items()):
            if claim.value.phase is Phase.FREE or name not in (claim.value.holder, claim.value.target):
                continue
            vm, seen = view.vm_wanted.get(uuid), view.vm_seen.get(uuid)
            called = vm.value.name if vm else uuid
            sentence = seen.value.sentence if seen else "nothing is known of it"
            moved = seen.value.move_reason if seen else ""
            if empties or claim.value.phase is not Phase.RUN or moved:
                why = f"; it could not be moved: {moved}" if moved else ""
                yield f"VM {called} is here ({claim.value.phase}): {sentence}{why}"

    def _own(self, name: str) -> Iterator[str]:
        try:
            told = self.desk.ask(name, "why_node", {}, deadline_s=ASK_S).result
        except PvcError as error:
            yield f"it could not be asked itself, so this is what the others know: {error}"
            return
        yield from _told(told)


def _told(told: Mapping[str, Any]) -> Iterator[str]:
    if told["standstill"]:
        yield str(told["standstill"])
    store = str(told["store"])
    yield "its connection to the store stands" if store == "connected" else f"its connection to the store is {store}"
    yield str(told["guard"])
    for what, call in sorted(dict(told["stuck"]).items()):
        yield f"a driver has not come back from {call} ({what})"
    for what, sentence in sorted(dict(told["said"]).items()):
        if what.partition("/")[0] in SHOWN:
            yield f"{what}: {sentence}"
