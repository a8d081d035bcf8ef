"""One rung of the fencing ladder, asked as the core asks it: who is meant, within what time, what an answer is worth.

Who is condemned, which rungs are climbed and what follows from their answers is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

from pvc_core.cluster import layout
from pvc_core.contracts.fence import Allowed, FenceDriver
from pvc_core.errors import NotFound, PvcError, Refused, Retry
from pvc_core.model.fence import FenceAnswer, NoProof, Proof, ProofKind, Target, TestStep, Why, WriteFence
from pvc_core.model.storage import Pool
from pvc_core.model.view import ClusterView
from pvc_core.model.vm import Phase
from pvc_core.reconcile.ground import Ground

TEST_S = 10.0
"""What a rung's self-test is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RungTest:
    """What a rung's self-test came to."""

    rung: str
    steps: tuple[TestStep, ...]

    @property
    def passed(self) -> bool:
        return bool(self.steps) and all(step.passed for step in self.steps)


def target_of(view: ClusterView, node: str, *, incarnation: str = "") -> Target:
    """`node` as a fence driver is told of it, in the incarnation that is condemned ("": the one last seen).

    Its UUID is left out when another node has the same: it could be either. Raises NotFound.
    """
    kept = view.node_seen.get(node)
    if kept is None:
        raise NotFound(f"there is no node {node!r}", help="`pvc node list` shows those there are")
    seen = kept.value
    others = {other.value.machine_uuid for name, other in view.node_seen.items() if name != node}
    return Target(
        node=node,
        uuid="" if seen.machine_uuid in others else seen.machine_uuid,
        incarnation=incarnation or seen.incarnation,
        addresses=dict(seen.addresses),
    )


def ask_rung(ground: Ground, rung: str, target: Target, *, allowed: Allowed, deadline_s: float) -> FenceAnswer:
    """Let `rung` of the ladder fence `target`; never raises a PvcError.

    A driver that hangs, breaks its contract or proves something of another node or incarnation has proved nothing.
    """
    driver = ground.fence.get(rung)
    if driver is None:
        return _none(rung, target, Why.FAILED, f"no fence driver {rung} is loaded on node {ground.node}")
    try:
        answer = ground.calls(
            f"fence/{rung}/{target.node}",
            f"{rung} fences node {target.node}",
            deadline_s,
            lambda: driver.fence(target, allowed=allowed, deadline_s=deadline_s),
        )
    except PvcError as error:
        return _none(rung, target, Why.UNREACHABLE if isinstance(error, Retry) else Why.FAILED, str(error), acted=True)
    return checked(ground, rung, target, answer)


def write_fence_of(view: ClusterView, target: Target, pool: Pool) -> WriteFence:
    """What a storage driver must know to keep `target` from writing into `pool`: from claims and nodes as pictured.

    Its addresses are those of the claims of this very incarnation: what another life of the node has, like what any
    other node has, is never touched (A4, A18). Its volumes are also those of guests on their way to it (B17).
    """
    refs: list[str] = []
    noted: set[str] = set()
    others = {name: set(kept.value.addresses.values()) for name, kept in view.node_seen.items() if name != target.node}
    for claim in (kept.value for kept in view.claims.values() if kept.value.phase is not Phase.FREE):
        mine = (claim.holder, claim.incarnation) == (target.node, target.incarnation)
        if mine or claim.target == target.node:
            refs += claim.volumes
        if mine:
            noted.update(claim.addresses)
        elif claim.addresses:
            others.setdefault(claim.holder, set()).update(claim.addresses)
    ids = {layout.volume_id(*ref.split("/", 1)) for ref in refs if ref.partition("/")[0] == pool.name}
    return WriteFence(
        target=target,
        pool=pool,
        volumes=[view.volumes[id].value for id in sorted(ids) if id in view.volumes],
        noted=sorted(noted),
        others={name: sorted(addresses) for name, addresses in others.items()},
    )


def ask_storage(ground: Ground, fence: WriteFence, *, deadline_s: float) -> FenceAnswer:
    """Let the pool's own driver keep fence.target from writing into it; never raises a PvcError.

    It destroys nothing that a living node has, so that it needs no permission right before the act.
    """
    rung, target, pool = fence.pool.driver, fence.target, fence.pool.name
    try:
        driver = ground.driver(fence.pool)
        answer = ground.calls(
            f"fence/{rung}/{target.node}/{pool}",
            f"{rung} keeps node {target.node} from writing into pool {pool}",
            deadline_s,
            lambda: driver.fence_node(fence, deadline_s=deadline_s),
        )
    except PvcError as error:
        return _none(rung, target, Why.UNREACHABLE if isinstance(error, Retry) else Why.FAILED, str(error), acted=True)
    if isinstance(answer, Proof) and (answer.kind is not ProofKind.NO_WRITE or answer.pool != pool):
        return _none(rung, target, Why.FAILED, f"it proved something else: {answer.text}", acted=True)
    return checked(ground, rung, target, answer)


def checked(ground: Ground, rung: str, target: Target, answer: object) -> FenceAnswer:
    """`answer` if it is one, about this very target."""
    if isinstance(answer, NoProof):
        return answer
    if not isinstance(answer, Proof):
        return _none(rung, target, Why.FAILED, f"it answered {type(answer).__name__}, which is no answer", acted=True)
    if (answer.node, answer.incarnation, answer.rung) != (target.node, target.incarnation, rung):
        return _none(rung, target, Why.FAILED, f"it proved something else: {answer.text}", acted=True)
    offered = _proofs(ground, rung)
    if answer.kind not in offered:
        return _none(rung, target, Why.FAILED, f"it gave a proof that it does not offer: {answer.text}", acted=True)
    return answer


def rung_tests(ground: Ground, node: str) -> tuple[RungTest, ...]:
    """Every fence driver of the ladder, tested against `node` from here. Raises NotFound; Refused without a ladder."""
    target = target_of(ground.view, node)
    if not ground.fence:
        raise Refused(
            f"node {ground.node} has no fence driver in its ladder",
            help="name one in fencing.ladder of its pvc.yaml, like [fence_ipmi]",
        )
    rungs = ground.fence.items()
    return tuple(RungTest(rung=rung, steps=_tested(ground, rung, driver, target)) for rung, driver in rungs)


def _tested(ground: Ground, rung: str, driver: FenceDriver, target: Target) -> tuple[TestStep, ...]:
    def call() -> tuple[TestStep, ...]:
        return driver.self_test(target, deadline_s=TEST_S)

    try:
        return ground.calls(f"fence-test/{rung}/{target.node}", f"{rung} tests node {target.node}", TEST_S, call)
    except PvcError as error:
        return (TestStep(name="answer", passed=False, said=str(error)),)


def _proofs(ground: Ground, rung: str) -> tuple[object, ...]:
    plugin = ground.plugins.get(rung)
    if plugin is None:
        return ()
    storage = plugin.storage
    no_write = (ProofKind.NO_WRITE,) if storage is not None and storage.capabilities.storage_fencing else ()
    return (*(plugin.fence.capabilities.proofs if plugin.fence else ()), *no_write)


def _none(rung: str, target: Target, why: Why, reason: str, *, acted: bool = False) -> NoProof:
    return NoProof(rung=rung, node=target.node, why=why, reason=reason, acted=acted)
