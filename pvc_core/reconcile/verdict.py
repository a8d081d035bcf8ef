"""What follows from a verdict without anybody's acting on the world: it is shown, and what proves it by itself is put
on record: a newer incarnation of the node, a person's word, a watchdog's time that has passed.

Only a verdict in force is good for anything. Acting is ladder.py's, moving the guests recovery.py's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Add, Drop, Set, Unchanged, Write
from pvc_core.errors import Conflict
from pvc_core.model.fence import Proof, ProofKind
from pvc_core.model.node import DaemonState
from pvc_core.model.verdict import KeptProof, Verdict, life_id
from pvc_core.model.view import ClusterView, Kept
from pvc_core.reconcile.docket import Docket, is_off, proofs_of, removed
from pvc_core.reconcile.engine import EVERY
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

LOOK_S = 0.5
KEPT_S = 3600.0
"""A verdict on a life that is over and that no claim names is forgotten after so long."""


@dataclass(frozen=True, slots=True)
class VerdictReconciler:
    """On the primary."""

    ground: Ground
    docket: Docket
    kind: str = "verdict"

    def keys(self, view: ClusterView) -> Iterable[str]:
        return view.verdicts.keys() if self.ground.is_primary() else ()

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        if found is None:
            return None
        if found[0] is layout.LEADER:
            return EVERY
        return found[1] if found[0] in (layout.VERDICTS, layout.VOUCHES) else None

    def step(self, key: str) -> Outcome:
        view = self.ground.view
        kept = view.verdicts.get(key)
        if kept is None or not view.fresh or not self.ground.is_primary():
            return Outcome("")
        self.docket.follow(view)
        verdict = kept.value
        if removed(view, verdict.node):
            return self._forget_in_time(key, kept)
        if not verdict.in_force:
            return Outcome(_waits_for(verdict), LOOK_S)
        for proof in self._by_itself(view, key, verdict):
            keep_proof(self.ground, verdict, proof)
        self._show(key, verdict)
        if is_off(self.ground.view, key):
            return self._forget_in_time(key, kept)
        return Outcome(self._sentence(key, verdict), LOOK_S)

    def note(self, key: str, outcome: Outcome) -> None:
        """Shown in the node's record."""

    # -- what proves itself --------------------------------------------------------------------------------------------

    def _by_itself(self, view: ClusterView, life: str, verdict: Verdict) -> Iterable[Proof]:
        beat, vouch = view.heartbeats.get(verdict.node), view.vouches.get(life)
        if beat is not None and beat.value.incarnation != verdict.incarnation:
            yield _off(verdict, "boot", "it is in a newer life", f"a heartbeat of incarnation {beat.value.incarnation}")
        if vouch is not None:
            yield _off(verdict, "person", "a person has made sure", f"{vouch.value.by} says: {vouch.value.words}")
        if self.docket.watchdog_bit(life, verdict):
            how = f"{verdict.watchdog_s:g} s of a watchdog nobody feeds, after its limit of {verdict.limit_s:g} s"
            yield _off(verdict, "watchdog", "its hardware watchdog has reset it", how)

    # -- what is shown -------------------------------------------------------------------------------------------------

    def _show(self, life: str, verdict: Verdict) -> None:
        """The node's record says dead, then fenced; who writes that tells the hooks, so that each hears of it once."""
        view = self.ground.view
        kept = view.node_seen.get(verdict.node)
        if kept is None or kept.value.incarnation != verdict.incarnation:
            return
        state = DaemonState.FENCED if proofs_of(view, life) else DaemonState.DEAD
        before, sentence = kept.value.daemon_state, self._shown(state, life, verdict)
        if before is DaemonState.FENCED or (before, kept.value.sentence) == (state, sentence):
            return
        said = replace(kept.value, daemon_state=state, sentence=sentence)
        self.ground.commit(self.ground.lead(), Set(layout.NODE_SEEN, verdict.node, said, kept.version))
        if before is state:
            return
        hook = "pvc_node_fenced" if state is DaemonState.FENCED else "pvc_node_lost"
        if state is DaemonState.FENCED and before is not DaemonState.DEAD:
            self.ground.hooks.notify("pvc_node_lost", key=verdict.node, node=verdict.node, why=verdict.why)
        self.ground.hooks.notify(hook, key=verdict.node, node=verdict.node, why=_why(view, life, verdict))

    def _shown(self, state: DaemonState, life: str, verdict: Verdict) -> str:
        """Whoever looks at the node reads what is missing, and what he can do."""
        given_up, reasons = f"given up: {verdict.why}", self._reasons(life)
        if state is DaemonState.FENCED or not reasons:
            return given_up
        help = f"its guests wait; if it is off for certain, say so: pvc node fence {verdict.node}"
        return f"{given_up}. Nothing proves that it is off: {reasons}; {help}"

    def _reasons(self, life: str) -> str:
        case = self.docket.cases.get(life)
        return "; ".join(reason for _, reason in sorted(case.reasons.items())) if case else ""

    def _sentence(self, life: str, verdict: Verdict) -> str:
        reasons = self._reasons(life)
        proofs = ", ".join(sorted({kept.proof.rung for kept in proofs_of(self.ground.view, life)}))
        have = f" (has {proofs})" if proofs else ""
        return f"node {verdict.node} is given up and not proved off{have}" + (f": {reasons}" if reasons else "")

    # -- the end -------------------------------------------------------------------------------------------------------

    def _forget_in_time(self, life: str, kept: Kept[Verdict]) -> Outcome:
        view, verdict = self.ground.view, kept.value
        case = self.docket.cases.get(life)
        beat = view.heartbeats.get(verdict.node)
        named = any(
            claim.value.holder == verdict.node and claim.value.incarnation == verdict.incarnation
            for claim in view.claims.values()
        )
        there = beat is not None and beat.value.incarnation == verdict.incarnation
        if case is None or named or there:
            return Outcome("", 10.0)
        left_s = case.seen_s + KEPT_S - self.ground.clock.boottime_s()
        if left_s > 0:
            return Outcome("", left_s)
        writes: list[Write] = [Drop(layout.VERDICTS, life, kept.version)]
        proofs = [(id, one) for id, one in view.proofs.items() if id.startswith(f"{life}@")]
        writes += [Drop(layout.PROOFS, id, one.version) for id, one in proofs]
        if life in view.vouches:
            writes.append(Drop(layout.VOUCHES, life, view.vouches[life].version))
        self.ground.commit(self.ground.lead(), *writes)
        return Outcome("")


def keep_proof(ground: Ground, verdict: Verdict, proof: Proof) -> None:
    """On record before any claim moves by it. On record already: fine. Raises Conflict, StoreUnavailable."""
    kept = KeptProof(proof=proof, by=ground.node, term=ground.term, at_s=ground.clock.wall_s())
    if kept.id in ground.view.proofs:
        return
    verdicts = ground.view.verdicts.get(life_id(verdict.node, verdict.incarnation))
    if verdicts is None:
        raise Conflict(f"there is no verdict on node {verdict.node} any more")
    ground.commit(
        ground.lead(),
        Unchanged(layout.VERDICTS, life_id(verdict.node, verdict.incarnation), verdicts.version),
        Add(layout.PROOFS, kept.id, kept),
    )


def _off(verdict: Verdict, rung: str, seen: str, how: str) -> Proof:
    return Proof(
        kind=ProofKind.OFF,
        node=verdict.node,
        incarnation=verdict.incarnation,
        rung=rung,
        seen=seen,
        how=how,
        already=True,
    )


def _waits_for(verdict: Verdict) -> str:
    agreed = ", ".join(verdict.agreed) or "none"
    return f"the verdict on node {verdict.node} waits until a majority of coordinators has agreed (yet: {agreed})"


def _why(view: ClusterView, life: str, verdict: Verdict) -> str:
    proofs = proofs_of(view, life)
    return proofs[0].proof.text if proofs else verdict.why
