"""Which node a VM shall live on. Whether a node may is `objection`; which of those is best is said by its rules about
other VMs (affinity.py), then by the selector's `weight`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pvc_core.model.node import DaemonState, DomainState
from pvc_core.model.view import ClusterView
from pvc_core.model.vm import Description, Phase, Selector, VmWanted
from pvc_core.policy.affinity import Rules, clash, preference, rules_of
from pvc_core.units import MIB

RESERVE_BYTES = 256 * MIB
"""Left for the node itself when it is asked whether a guest still fits."""

Describe = Callable[[VmWanted], Description]


NOWHERE = "fits nowhere"
"""What the sentence of a choice begins with that has no node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a VM asks of a node. `homes`: nodes that hold its node-local volumes."""

    memory_bytes: int
    vcpus: int
    limit: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()
    selector: Selector | None = None
    belongs: tuple[str, ...] = ()
    """Where it lives and where it was migrated from: nodes that take it already while they are getting ready."""
    only: str = ""
    """What in its definition exists on one node only, in words; it runs on the first of `belongs` or nowhere."""
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`node` is None when none fits; then `objections` says why, by node."""

    node: str | None
    objections: dict[str, str]

    @property
    def sentence(self) -> str:
        if self.node:
            return f"placed on {self.node}"
        reasons = "; ".join(f"{node}: {why}" for node, why in sorted(self.objections.items()))
        return f"{NOWHERE} ({reasons or 'no node is known yet'})"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLoad:
    """What lives on a node or is on its way there: `provisioned` counts every VM, `allocated` those that run."""

    provisioned_bytes: int = 0
    allocated_bytes: int = 0
    vcpus: int = 0
    running: tuple[str, ...] = ()
    incoming: tuple[str, ...] = ()
    incoming_bytes: int = 0
    incoming_vcpus: int = 0
    """Of those that run elsewhere and are on their way here: counted above, not yet in what the node itself measures.
    """


def need_of(view: ClusterView, vm: VmWanted, description: Description) -> Need:
    homes = {kept.value.home for ref in description.volumes if (kept := view.volume(ref)) and kept.value.home}
    claim = view.claims.get(vm.uuid)
    belongs = (*((claim.value.holder,) if claim else ()), *((vm.last_node,) if vm.last_node else ()))
    return Need(
        memory_bytes=description.memory_bytes,
        vcpus=description.vcpus,
        limit=vm.node_limit,
        homes=tuple(sorted(homes)),
        selector=vm.node_selector,
        belongs=belongs,
        only="" if description.failover or claim is None else "; ".join(description.outside),
        rules=rules_of(vm),
    )


def loads(view: ClusterView, describe: Describe, *, besides: str = "") -> dict[str, NodeLoad]:
    """What lives on each node, from the claims; the VM `besides` (a UUID) is not counted.

    A VM that shall move counts on both nodes until it has: of twenty that move at once each sees the ones before it.
    """
    result = {name: NodeLoad() for name in view.node_seen}
    for uuid, claim in view.claims.items():
        kept = view.vm_wanted.get(uuid)
        if kept is None or uuid == besides:
            continue
        what, runs = describe(kept.value), claim.value.phase in (Phase.RUN, Phase.MIGRATING)
        here, there = claim.value.holder, destination(view, uuid)
        result[here] = _with(result.get(here, NodeLoad()), what, running=(uuid,) if runs else ())
        if there is not None:
            result[there] = _with(result.get(there, NodeLoad()), what, incoming=(uuid,) if runs else ())
    return result


def destination(view: ClusterView, uuid: str) -> str | None:
    """The other node this VM is on its way to, or was asked to go to; None when it stays."""
    kept, claim, seen = view.vm_wanted.get(uuid), view.claims.get(uuid), view.vm_seen.get(uuid)
    if kept is None or claim is None:
        return None
    if claim.value.phase is Phase.MIGRATING:
        return claim.value.target
    pending = kept.value.move > (seen.value.move_done if seen else 0)
    return kept.value.target if pending and kept.value.target != claim.value.holder else None


def _with(
    old: NodeLoad, what: Description, *, running: tuple[str, ...] = (), incoming: tuple[str, ...] = ()
) -> NodeLoad:
    runs = bool(running or incoming)
    return replace(
        old,
        provisioned_bytes=old.provisioned_bytes + what.memory_bytes,
        allocated_bytes=old.allocated_bytes + (what.memory_bytes if runs else 0),
        vcpus=old.vcpus + (what.vcpus if runs else 0),
        running=old.running + running,
        incoming=old.incoming + incoming,
        incoming_bytes=old.incoming_bytes + (what.memory_bytes if incoming else 0),
        incoming_vcpus=old.incoming_vcpus + (what.vcpus if incoming else 0),
    )


def choose_node(
    view: ClusterView,
    need: Need,
    describe: Describe,
    *,
    exclude: Mapping[str, str] | None = None,
    load: dict[str, NodeLoad] | None = None,
) -> Choice:
    """The best node for `need` among those that may run it. `exclude`: nodes that shall not be chosen, and why.

    A node where nothing is that it shall be apart from comes first, then one with what it shall be together with, then
    the selector decides. `load`: what `loads` says, when several are to be chosen on one picture.
    """
    load, exclude = loads(view, describe) if load is None else load, exclude or {}
    objections = {name: exclude.get(name) or objection(view, need, name, load) for name in sorted(view.node_seen)}
    candidates = [name for name, why in objections.items() if not why]
    if not candidates:
        return Choice(node=None, objections=objections)

    def better(name: str) -> tuple[int, int, float, str]:
        return (*preference(view, need.rules, name), *weight(view, need, name, load))

    return Choice(node=max(candidates, key=better), objections=objections)


def crowded(view: ClusterView, need: Need, node: str, describe: Describe, load: dict[str, NodeLoad]) -> str:
    """With whom it would share `node` though the two shall be apart and another node fits where they are; "" else."""
    why = clash(view, need.rules, node)
    if not why:
        return ""
    choice = choose_node(view, need, describe, exclude={node: why}, load=load)
    free = choice.node is not None and not clash(view, need.rules, choice.node)
    return f"{why}; {choice.node} would do" if free else ""


def objection(view: ClusterView, need: Need, node: str, load: dict[str, NodeLoad]) -> str:
    """Why `node` may not run it; "" if it may."""
    if node not in view.node_seen:
        return "its daemon has not reported yet"
    seen = view.node_seen[node].value
    if seen.custody:
        return f"its daemon is in custody ({seen.custody})"
    if seen.daemon_state is not DaemonState.RUN:
        return f"its daemon is in state {seen.daemon_state}"
    if why := _takes_none(view, need, node):
        return why
    if need.limit and node not in need.limit:
        return f"not among the VM's node limit ({', '.join(need.limit)})"
    if need.homes and need.homes != (node,):
        return f"the VM's volumes are on {' and '.join(need.homes)}, in a pool that is not shared"
    if need.only and node != need.belongs[0]:
        return f"the VM uses what only {need.belongs[0]} has ({need.only})"
    room = seen.memory_total_bytes - RESERVE_BYTES - load.get(node, NodeLoad()).allocated_bytes
    if need.memory_bytes > room:
        return f"needs {need.memory_bytes // MIB} MiB of memory, {max(0, room) // MIB} MiB are not given to running VMs"
    return ""


def _takes_none(view: ClusterView, need: Need, node: str) -> str:
    """What was asked of the node counts from that moment on, not from when its daemon has read it."""
    wanted, state = view.node_wanted.get(node), view.node_seen[node].value.domain_state
    if wanted is not None and wanted.value.domain_state is DomainState.FLUSHED:
        return f"it takes no guests ({state if state in (DomainState.FLUSH, DomainState.FLUSHED) else 'flush'})"
    if state is DomainState.READY or (state is DomainState.UNFLUSH and node in need.belongs):
        return ""
    return f"it takes no guests ({state})"


def weight(view: ClusterView, need: Need, node: str, load: dict[str, NodeLoad]) -> tuple[float, str]:
    """Greater is better; the name settles ties, so that every judge chooses alike."""
    here, seen = load.get(node, NodeLoad()), view.node_seen[node].value
    beat = view.heartbeats.get(node)
    match need.selector or Selector.MEM:
        case Selector.MEM | Selector.NONE:
            free = beat.value.memory_free_bytes - here.incoming_bytes if beat else None
            value = float(seen.memory_total_bytes - here.allocated_bytes if free is None else free)
        case Selector.MEMPROV:
            value = float(seen.memory_total_bytes - here.provisioned_bytes)
        case Selector.VCPUS:
            value = -float(here.vcpus)
        case Selector.LOAD:
            value = -(beat.value.load if beat else 0.0) - here.incoming_vcpus
        case Selector.VMS:
            value = -float(len(here.running) + len(here.incoming))
    return value, node
