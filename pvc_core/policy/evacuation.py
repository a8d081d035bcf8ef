"""What a node's flush, and its becoming ready again, still has to do: which VM goes where next, which is on its way,
and which cannot go and why. Pure functions on the picture; reconcile/flush.py acts on them, its task tells of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pvc_core.model.node import DomainState, NodeSeen
from pvc_core.model.view import ClusterView
from pvc_core.model.vm import Phase, VmWanted, Want
from pvc_core.policy.placement import Describe, NodeLoad, choose_node, destination, loads, need_of, objection


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """By UUID. `ask`: to be asked to move, and where to. Only the first is chosen with care, for each changes what fits
    for the next: ask it, and look again.
    """

    ask: dict[str, str] = field(default_factory=dict)
    moving: dict[str, str] = field(default_factory=dict)
    """On its way, or going down by itself: how far it is, in words."""
    stuck: dict[str, str] = field(default_factory=dict)
    """Cannot go now: why."""
    start: tuple[str, ...] = ()
    """Shall be started here, as they were marked to."""
    call_off: dict[str, str] = field(default_factory=dict)
    """Asked to go by an order that no longer holds: where it stays."""

    @property
    def left(self) -> int:
        return len(self.ask) + len(self.moving) + len(self.stuck) + len(self.start)


def emptying(view: ClusterView, node: str, describe: Describe, *, retry: frozenset[str] = frozenset()) -> Work:
    """What is left to do until no guest is on `node`. `retry`: VMs to be asked again though it was in vain before."""
    work, load = Work(), loads(view, describe)
    order = order_of(view, node)
    here = [
        uuid
        for uuid, claim in view.claims.items()
        if claim.value.phase is not Phase.FREE
        and (node in (claim.value.holder, claim.value.target))
        and uuid in view.vm_wanted
    ]
    for uuid in sorted(here, key=lambda uuid: _size(view, uuid, describe)):
        vm, claim, there = view.vm_wanted[uuid], view.claims[uuid].value, destination(view, uuid)
        if claim.holder != node:
            work.moving[uuid] = _how_far(view, uuid)
            if there == node and vm.value.move_order:
                work.call_off[uuid] = claim.holder
        elif there is not None or vm.value.want is not Want.START or claim.phase is Phase.TASK:
            work.moving[uuid] = _how_far(view, uuid)
        else:
            _leave(work, view, vm.value, node, order, describe, load, again=uuid in retry)
    return work


def refilling(view: ClusterView, node: str, describe: Describe, *, retry: frozenset[str] = frozenset()) -> Work:
    """What is left to do until `node` has back what was moved from it, and runs what was marked to start here."""
    seen, order = view.node_seen.get(node), order_of(view, node)
    bring_back = order != (seen.value.order_done if seen else "")
    work, load = Work(), loads(view, describe) if bring_back else {}
    start = []
    for uuid, kept in sorted(view.vm_wanted.items(), key=lambda item: item[1].value.name):
        vm, claim = kept.value, view.claims.get(uuid)
        if claim is None:
            continue
        there = destination(view, uuid)
        if claim.value.holder == node and there is not None and vm.move_order not in ("", order):
            work.call_off[uuid] = node
            work.moving[uuid] = _how_far(view, uuid)
        elif bring_back and there == node:
            work.moving[uuid] = _how_far(view, uuid)
        elif bring_back and there is None and vm.last_node == node != claim.value.holder and vm.want is not Want.REMOVE:
            _return(work, view, vm, node, order, describe, load, again=uuid in retry)
        elif vm.autostart and claim.value.holder == node and vm.want in (Want.STOP, Want.SHUTDOWN) and there is None:
            if claim.value.phase is Phase.FREE:
                start.append(uuid)
            else:
                work.moving[uuid] = _how_far(view, uuid)
    return Work(ask=work.ask, moving=work.moving, stuck=work.stuck, start=tuple(start), call_off=work.call_off)


def order_of(view: ClusterView, node: str) -> str:
    kept = view.node_wanted.get(node)
    return kept.value.order if kept else ""


def leaves(view: ClusterView, node: str) -> bool:
    """Whether it shall give up its guests."""
    kept = view.node_wanted.get(node)
    return kept is not None and kept.value.domain_state is DomainState.FLUSHED


def left_on_purpose(seen: NodeSeen, incarnation: str) -> bool:
    """Whether this boot of the node said, when its guests were gone, that it goes: silence is then no reason to fence,
    and its word that nothing runs there is proof that its guests are off.
    """
    return seen.left and seen.incarnation == incarnation


def on_their_way(view: ClusterView) -> int:
    """How many VMs are moving, or asked to, in the whole cluster."""
    return sum(1 for uuid in view.vm_wanted if destination(view, uuid) is not None)


def names(view: ClusterView, said: Mapping[str, str]) -> str:
    """ "a: why; b: why", for a sentence."""
    named = sorted((view.vm_wanted[uuid].value.name, why) for uuid, why in said.items() if uuid in view.vm_wanted)
    more = f"; and {len(named) - 5} more" if len(named) > 5 else ""
    return "; ".join(f"VM {name}: {why}" for name, why in named[:5]) + more


def _leave(
    work: Work,
    view: ClusterView,
    vm: VmWanted,
    node: str,
    order: str,
    describe: Describe,
    load: dict[str, NodeLoad],
    *,
    again: bool,
) -> None:
    """A running guest that nobody has asked to move yet, or that was asked in vain."""
    refused = "" if again else _refused(view, vm, order)
    exclude = {node: "it is being flushed"}
    if refused:
        exclude |= dict.fromkeys(vm.move_tried, "it did not take it") | {str(vm.target): refused}
    elif vm.move_order == order and not again:
        exclude |= dict.fromkeys(vm.move_tried, "it did not take it")
    need = need_of(view, vm, describe(vm))
    if work.ask:
        some = next(
            (name for name in view.node_seen if name not in exclude and not objection(view, need, name, load)), None
        )
        if some is not None:
            work.ask[vm.uuid] = some
            return
    choice = choose_node(view, need, describe, exclude=exclude, load=load)
    if choice.node is not None:
        work.ask[vm.uuid] = choice.node
    else:
        work.stuck[vm.uuid] = refused or choice.sentence


def _return(
    work: Work,
    view: ClusterView,
    vm: VmWanted,
    node: str,
    order: str,
    describe: Describe,
    load: dict[str, NodeLoad],
    *,
    again: bool,
) -> None:
    need = need_of(view, vm, describe(vm))
    why = "" if again else _refused(view, vm, order)
    why = why or objection(view, need, node, load)
    if why:
        work.stuck[vm.uuid] = why
    else:
        work.ask[vm.uuid] = node


def _refused(view: ClusterView, vm: VmWanted, order: str) -> str:
    """Why it stayed when this order asked it to move; "" when it was not asked, or has not said."""
    seen = view.vm_seen.get(vm.uuid)
    asked = bool(order) and vm.move_order == order
    return seen.value.move_reason if asked and seen is not None and seen.value.move_done == vm.move else ""


def _how_far(view: ClusterView, uuid: str) -> str:
    seen = view.vm_seen.get(uuid)
    return seen.value.sentence if seen and seen.value.sentence else "waits"


def _size(view: ClusterView, uuid: str, describe: Describe) -> tuple[int, str]:
    """Large ones first: what is left over is then easier to place."""
    kept = view.vm_wanted.get(uuid)
    return (-describe(kept.value).memory_bytes, kept.value.name) if kept else (0, uuid)
