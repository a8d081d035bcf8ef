"""Which running VMs should live elsewhere so that memory is given out evenly and rules are kept, and why. A plan, made
on the picture: each move is counted before the next is chosen. Pure; reconcile/kinds/rebalance.py carries it out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pvc_core.model.node import DaemonState, DomainState
from pvc_core.model.view import ClusterView, Kept
from pvc_core.model.vm import MigrationMethod, Phase, VmWanted, Want
from pvc_core.policy.affinity import clash, preference
from pvc_core.policy.placement import (
    RESERVE_BYTES,
    Describe,
    Need,
    NodeLoad,
    choose_node,
    destination,
    loads,
    need_of,
    objection,
)

WORTH = 0.2
"""Two nodes are even enough when what the fuller one has more is less than this part of what it has."""
MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMove:
    uuid: str
    name: str
    source: str
    target: str
    why: str


@dataclass(slots=True)
class _Draft:
    """The picture as it will be after the moves planned so far."""

    view: ClusterView
    describe: Describe
    load: dict[str, NodeLoad]

    def move(self, vm: VmWanted, target: str, why: str) -> PlannedMove:
        claim = self.view.claims[vm.uuid]
        source = claim.value.holder
        there = Kept(replace(claim.value, holder=target), claim.version, claim.stamp)
        self.view = replace(self.view, claims={**self.view.claims, vm.uuid: there})
        self.load = loads(self.view, self.describe)
        return PlannedMove(uuid=vm.uuid, name=vm.name, source=source, target=target, why=why)

    def need(self, vm: VmWanted) -> Need:
        return need_of(self.view, vm, self.describe(vm))

    def share(self, node: str) -> float:
        """Of the memory that VMs may have, how much is given to running ones."""
        total = self.view.node_seen[node].value.memory_total_bytes - RESERVE_BYTES
        return self.load.get(node, NodeLoad()).allocated_bytes / max(total, 1)


def rebalance(view: ClusterView, describe: Describe) -> list[PlannedMove]:
    """Broken rules first, then evenness. Only VMs that can move while they run and live where they belong."""
    draft = _Draft(view, describe, loads(view, describe))
    movable = sorted(_movable(view, describe))
    plan: list[PlannedMove] = []
    for uuid in movable:
        if len(plan) < MOST and (move := _put_right(draft, view.vm_wanted[uuid].value)):
            plan.append(move)
    moved = {move.uuid for move in plan}
    while len(plan) < MOST and (move := _even_out(draft, [uuid for uuid in movable if uuid not in moved])):
        plan.append(move)
        moved.add(move.uuid)
    return plan


def _movable(view: ClusterView, describe: Describe) -> Iterator[str]:
    for uuid, kept in view.vm_wanted.items():
        vm, claim, seen = kept.value, view.claims.get(uuid), view.vm_seen.get(uuid)
        if claim is None or claim.value.phase is not Phase.RUN or vm.want is not Want.START:
            continue
        if vm.restart > (seen.value.restart_done if seen else 0) or destination(view, uuid) is not None:
            continue
        migrated = vm.last_node not in (None, claim.value.holder)
        description = describe(vm)
        tied = not description.failover or need_of(view, vm, description).homes
        stays = migrated or tied or vm.migration_method is MigrationMethod.SHUTDOWN
        if not stays and _works(view, claim.value.holder):
            yield uuid


def _put_right(draft: _Draft, vm: VmWanted) -> PlannedMove | None:
    """It lives where its node limit or a rule forbids, or where nobody is that it shall be together with."""
    view, here, need = draft.view, draft.view.claims[vm.uuid].value.holder, draft.need(vm)
    choice = choose_node(view, need, draft.describe, exclude={here: "it lives there"}, load=draft.load)
    if choice.node is None:
        return None
    if need.limit and here not in need.limit:
        return draft.move(vm, choice.node, f"{here} is not among its node limit ({', '.join(need.limit)})")
    now, then = preference(view, need.rules, here), preference(view, need.rules, choice.node)
    if then[0] > now[0]:
        return draft.move(vm, choice.node, clash(view, need.rules, here) or "it shall be apart from others there")
    if then[0] == now[0] and then[1] > now[1]:
        return draft.move(vm, choice.node, f"together with what it shall be with on {choice.node}")
    return None


def _even_out(draft: _Draft, movable: list[str]) -> PlannedMove | None:
    """The move that brings a full node and an empty one nearest to each other; None when all are even enough."""
    nodes = sorted((name for name in draft.view.node_seen if _works(draft.view, name)), key=draft.share)
    for source in reversed(nodes):
        for target in nodes:
            full, empty = draft.share(source), draft.share(target)
            if full - empty <= WORTH * full:
                break
            if found := _best(draft, movable, source, target):
                why = f"{source} gives {100 * full:.1f} % of its memory to VMs, {target} {100 * empty:.1f} %"
                return draft.move(found, target, why)
    return None


def _best(draft: _Draft, movable: list[str], source: str, target: str) -> VmWanted | None:
    """The VM whose move leaves the lower maximum of the two."""
    best, lowest = None, draft.share(source)
    for uuid in movable:
        if draft.view.claims[uuid].value.holder != source:
            continue
        vm = draft.view.vm_wanted[uuid].value
        after = max(_share_with(draft, source, -1, vm), _share_with(draft, target, +1, vm))
        if after < lowest - 1e-9 and _may(draft, vm, source, target):
            best, lowest = vm, after
    return best


def _may(draft: _Draft, vm: VmWanted, source: str, target: str) -> bool:
    need = draft.need(vm)
    if objection(draft.view, need, target, draft.load):
        return False
    now, then = preference(draft.view, need.rules, source), preference(draft.view, need.rules, target)
    return then[0] >= now[0] and then[1] >= now[1]


def _share_with(draft: _Draft, node: str, sign: int, vm: VmWanted) -> float:
    total = draft.view.node_seen[node].value.memory_total_bytes - RESERVE_BYTES
    return draft.share(node) + sign * draft.describe(vm).memory_bytes / max(total, 1)


def _works(view: ClusterView, node: str) -> bool:
    seen, wanted = view.node_seen.get(node), view.node_wanted.get(node)
    if seen is None or seen.value.custody or seen.value.daemon_state is not DaemonState.RUN:
        return False
    stays = wanted is None or wanted.value.domain_state is DomainState.READY
    return stays and seen.value.domain_state is DomainState.READY
