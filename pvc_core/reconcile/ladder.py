"""The ladder: all rungs at once, each with a deadline and a key of its own; what they prove is put on record.

Asking comes first: the condemned is told to release its guests itself before its power is pulled. Nothing destructive
is done to two nodes at once; each act is on record before it is done, in the commit that asks once more whether this
node still leads and the condemned life is still the node's last (B6). What a proof is good for is recovery.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set, Unchanged
from pvc_core.contracts.storage import StorageDriver
from pvc_core.errors import Conflict, NotFound, PvcError, Refused
from pvc_core.model.fence import FenceAnswer, NoProof, Power, Proof, ProofKind, Target, Why
from pvc_core.model.verdict import Act, Verdict, life_id
from pvc_core.model.view import ClusterView, Kept
from pvc_core.reconcile.docket import Alive, Docket, Questions, is_off, removed
from pvc_core.reconcile.engine import EVERY
from pvc_core.reconcile.fencing import ask_rung, ask_storage, target_of, write_fence_of
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome
from pvc_core.reconcile.verdict import keep_proof

WORD, READ, ON = "word", "read", "on"
SOON_S, AGAIN_S, AGAIN_MAX_S = 0.5, 5.0, 30.0
STORAGE_AGAIN_S = 1.0
"""Shutting out harms nobody, and guests wait for it."""
WORD_S = 4.0
"""What a condemned that answers has to kill its guests and see them gone, before its power is pulled all the same."""
ACT_S = 1.0
"""So much of the lease must be left when an act begins."""
STATUS_S = 3.0


@dataclass(frozen=True, slots=True)
class Ladder:
    """`power`: rung -> what one attempt is given; `storage`: those storage drivers that can shut a node out."""

    power: Mapping[str, float] = field(default_factory=dict)
    storage: Mapping[str, StorageDriver] = field(default_factory=dict)
    storage_s: float = 8.0
    """Longer than storage whose own leader was on the lost node takes to find another."""

    @property
    def rungs(self) -> dict[str, ProofKind]:
        return {name: ProofKind.OFF for name in self.power} | {name: ProofKind.NO_WRITE for name in self.storage}


@dataclass(frozen=True, slots=True)
class LadderReconciler:
    """On the primary. Keys: LIFE@word, LIFE@RUNG, LIFE@RUNG@POOL; LIFE@read@RUNG for a suspect that may be off,
    and LIFE@on@RUNG for one that was switched off and is to be switched on again.
    """

    ground: Ground
    docket: Docket
    questions: Questions
    ladder: Ladder = field(default_factory=Ladder)
    kind: str = "ladder"
    _failed: dict[str, int] = field(default_factory=dict)

    def keys(self, view: ClusterView) -> Iterable[str]:
        if not self.ground.is_primary():
            return
        for life, kept in view.verdicts.items():
            if kept.value.in_force and not is_off(view, life) and not removed(view, kept.value.node):
                yield from self._climb(view, life)
            yield from (f"{life}@{ON}@{rung}" for rung in self.ladder.power if f"{life}@{rung}" in view.proofs)
        for node, incarnation in self.docket.to_read:
            yield from (f"{life_id(node, incarnation)}@{READ}@{rung}" for rung in self.ladder.power)

    def _climb(self, view: ClusterView, life: str) -> Iterable[str]:
        yield f"{life}@{WORD}"
        yield from (f"{life}@{rung}" for rung in self.ladder.power)
        for pool, kept in view.pools.items():
            if kept.value.driver in self.ladder.storage:
                yield f"{life}@{kept.value.driver}@{pool}"

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        return EVERY if found and found[0] in (layout.VERDICTS, layout.PROOFS, layout.LEADER) else None

    def step(self, key: str) -> Outcome:
        node, incarnation, rung, *rest = key.split("@")
        life, view = life_id(node, incarnation), self.ground.view
        if rung == READ:
            return self._read(life, node, incarnation, rest[0])
        kept = view.verdicts.get(life)
        if rung == ON:
            return self._switch_on(kept.value, rest[0]) if kept is not None else Outcome("")
        over = kept is None or not kept.value.in_force or key in view.proofs or is_off(view, life)
        if kept is None or over or removed(view, node) or not view.fresh or not self.ground.is_primary():
            self._failed.pop(key, None)
            return Outcome("")
        self.docket.follow(view)
        if rung == WORD:
            return self._word(life, kept.value)
        if rest:
            return self._storage(key, kept.value, rung, rest[0])
        return self._power(key, kept.value, rung)

    def note(self, key: str, outcome: Outcome) -> None:
        """Shown with the verdict."""

    # -- the node's own word -------------------------------------------------------------------------------------------

    def _word(self, life: str, verdict: Verdict) -> Outcome:
        case, answer = self.docket.cases.get(life), self.questions.release(verdict)
        now_s = self.ground.clock.boottime_s()
        if answer is not None and answer.all_gone:
            keep_proof(self.ground, verdict, _word_of(verdict))
            return Outcome(f"node {verdict.node} says itself that all its guests are gone")
        if case is not None and case.released_s is None:
            case.released_s = now_s if answer is None else now_s + WORD_S
        return Outcome("", SOON_S)

    def _asked_first(self, life: str) -> bool:
        """The condemned had its time to answer, or gave none."""
        case, now_s = self.docket.cases.get(life), self.ground.clock.boottime_s()
        if case is None or case.agreed_s is None:
            return False
        return now_s >= (case.released_s if case.released_s is not None else case.agreed_s + SOON_S)

    # -- power ---------------------------------------------------------------------------------------------------------

    def _power(self, key: str, verdict: Verdict, rung: str) -> Outcome:
        life = life_id(verdict.node, verdict.incarnation)
        if not self._asked_first(life):
            return Outcome("", 0.2)
        target = self._target(verdict)
        deadline_s = self.ladder.power[rung]
        act = _Acting(self.ground, self.docket, life, rung, deadline_s)
        answer = ask_rung(self.ground, rung, target, allowed=act.allowed, deadline_s=deadline_s)
        if isinstance(answer, Proof) and self._still_answers(verdict):
            why = f"power reads off, and node {verdict.node} answers: is the controller another machine's?"
            answer = NoProof(rung=rung, node=verdict.node, why=Why.WRONG_MACHINE, reason=why, acted=True)
        act.end(answer)
        return self._answered(key, verdict, answer)

    def _still_answers(self, verdict: Verdict) -> bool:
        """A node that answers after its power was read off voids the reading (A16)."""
        answer: Alive | None = self.questions.alive([verdict.node]).get(verdict.node)
        return answer is not None and answer.incarnation == verdict.incarnation

    def _target(self, verdict: Verdict) -> Target:
        return target_of(self.ground.view, verdict.node, incarnation=verdict.incarnation)

    def _switch_on(self, verdict: Verdict, rung: str) -> Outcome:
        """Its guests are gone from it: it may come back, if its settings say so, as another life with none of them."""
        view, driver = self.ground.view, self.ground.fence.get(rung)
        life = life_id(verdict.node, verdict.incarnation)
        case, beat = self.docket.cases.get(life), view.heartbeats.get(verdict.node)
        back = beat is None or beat.value.incarnation != verdict.incarnation
        if case is None or case.switched_on or back or driver is None or not self.ground.is_primary():
            return Outcome("")
        target = self._target(verdict)
        on = self.ground.calls(
            f"fence-on/{rung}/{verdict.node}",
            f"switching node {verdict.node} on",
            STATUS_S,
            lambda: driver.power_on(target, deadline_s=STATUS_S),
        )
        case.switched_on = True
        return Outcome(f"node {verdict.node} is switched on again" if on else "")

    # -- storage -------------------------------------------------------------------------------------------------------

    def _storage(self, key: str, verdict: Verdict, rung: str, pool_name: str) -> Outcome:
        life, deadline_s = life_id(verdict.node, verdict.incarnation), self.ladder.storage_s
        fence = write_fence_of(self.ground.view, self._target(verdict), self.ground.view.pools[pool_name].value)
        act = _Acting(self.ground, self.docket, life, f"{rung}@{pool_name}", deadline_s)
        answer: FenceAnswer
        try:
            act.allowed()
            answer = ask_storage(self.ground, fence, deadline_s=deadline_s)
        except PvcError as error:
            answer = NoProof(rung=rung, node=verdict.node, why=Why.FAILED, reason=str(error))
        act.end(answer)
        return self._answered(key, verdict, answer)

    # -- what came of it -----------------------------------------------------------------------------------------------

    def _answered(self, key: str, verdict: Verdict, answer: FenceAnswer) -> Outcome:
        life = life_id(verdict.node, verdict.incarnation)
        case = self.docket.cases.get(life)
        if isinstance(answer, Proof):
            keep_proof(self.ground, verdict, answer)
            self._failed.pop(key, None)
            if case is not None:
                case.reasons.pop(key, None)
            return Outcome(f"proved: {answer.text}")
        if case is not None:
            case.reasons[key] = answer.text
        if answer.why is Why.NOT_ALLOWED:
            return Outcome(answer.text, SOON_S)
        if answer.why is Why.UNREACHABLE:  # asking costs nobody anything, and it may come back with its machine's power
            return Outcome(answer.text, AGAIN_S)
        self._failed[key] = self._failed.get(key, 0) + 1
        again_s = STORAGE_AGAIN_S if answer.rung in self.ladder.storage else AGAIN_S
        return Outcome(answer.text, min(AGAIN_MAX_S, again_s * self._failed[key]))

    # -- before any verdict --------------------------------------------------------------------------------------------

    def _read(self, life: str, node: str, incarnation: str, rung: str) -> Outcome:
        """Nobody acts on a machine that may be booting; one whose power reads off already is not (B13)."""
        driver = self.ground.fence.get(rung)
        if (node, incarnation) not in self.docket.to_read or driver is None or not self.ground.is_primary():
            return Outcome("")
        target = target_of(self.ground.view, node, incarnation=incarnation)
        power = self.ground.calls(
            f"fence-status/{rung}/{node}",
            f"reading the power of node {node}",
            STATUS_S,
            lambda: driver.status(target, deadline_s=STATUS_S),
        )
        if power is Power.OFF:
            self.docket.read_off.add(life)
            return Outcome(f"the power of node {node} reads off")
        return Outcome("", AGAIN_S)


class _Acting:
    """One act: `allowed` is asked right before it, and puts it on record."""

    def __init__(self, ground: Ground, docket: Docket, life: str, rung: str, deadline_s: float) -> None:
        self._ground, self._docket, self._life, self._rung = ground, docket, life, rung
        self._deadline_s = deadline_s
        self._recorded = False

    def allowed(self) -> None:
        """Raises Refused when another node is being acted on, the node has begun a new life, or this one does not lead
        any more; Conflict, StoreUnavailable when the store did not take the record.
        """
        ground, (node, incarnation) = self._ground, self._life.split("@")
        self._docket.take_turn(self._life, self._deadline_s)
        verdict = ground.repository.get(layout.VERDICTS, self._life)
        beat = ground.repository.get(layout.HEARTBEATS, node)
        if beat.value.incarnation != incarnation:
            raise Refused(f"node {node} has begun a new life")
        if ground.view.maintenance:
            raise Refused("the cluster is in maintenance")
        act = Act(rung=self._rung, by=ground.node, term=ground.term, at_s=ground.clock.wall_s())
        acts = (*(one for one in verdict.value.acts if one.rung != self._rung), act)
        ground.commit(
            ground.lead(),
            Unchanged(layout.HEARTBEATS, node, beat.version),
            Set(layout.VERDICTS, self._life, replace(verdict.value, acts=acts), verdict.version),
        )
        self._recorded = True
        if ground.leadership is not None and not ground.leadership.acts(for_s=ACT_S):
            raise Refused(f"node {ground.node} may not be primary for long enough")

    def end(self, answer: FenceAnswer) -> None:
        """What came of it goes on record too, if it can; nothing depends on it."""
        self._docket.end_turn(self._life)
        if not self._recorded:
            return
        try:
            kept: Kept[Verdict] = self._ground.repository.get(layout.VERDICTS, self._life)
            acts = tuple(replace(one, result=answer.text) if one.rung == self._rung else one for one in kept.value.acts)
            self._ground.commit(
                self._ground.lead(), Set(layout.VERDICTS, self._life, replace(kept.value, acts=acts), kept.version)
            )
        except (Conflict, NotFound):
            pass


def _word_of(verdict: Verdict) -> Proof:
    return Proof(
        kind=ProofKind.OFF,
        node=verdict.node,
        incarnation=verdict.incarnation,
        rung=WORD,
        seen="none of its guests is left in its /proc",
        how="its guard's direct answer",
    )
