"""The guests of a condemned node: each claim moves when the proofs suffice for that guest, and not before.

One commit moves one claim, with checks of the term, the claim, the verdict and every proof it rests on (A18). The guest
then starts as any other does (vm_start.py). What suffices is policy/proofs.py's to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set, Unchanged, Write
from pvc_core.model.fence import Proof, ProofKind
from pvc_core.model.verdict import Verdict, life_id
from pvc_core.model.view import ClusterView, Kept
from pvc_core.model.vm import Arrival, Claim, GuestState, Phase, VmSeen, VmWanted, Want
from pvc_core.policy.placement import choose_node, need_of
from pvc_core.policy.proofs import Demand, Judged, guest_of, sufficient
from pvc_core.reconcile.docket import Docket, is_off, proofs_of
from pvc_core.reconcile.engine import EVERY
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.migration import handed_over
from pvc_core.reconcile.moving import carried
from pvc_core.reconcile.outcome import Outcome

LOOK_S = 0.5
STORAGE_WAIT_S = 3.0
"""So long NO_WRITE is waited for even when power was read off."""


@dataclass(frozen=True, slots=True)
class RecoveryReconciler:
    """On the primary; one key per condemned life, so that its guests go one after the other, the urgent ones first."""

    ground: Ground
    docket: Docket
    demand: Demand = field(default_factory=Demand)
    kind: str = "recovery"

    def keys(self, view: ClusterView) -> Iterable[str]:
        return view.verdicts.keys() if self.ground.is_primary() else ()

    def concerned(self, store_key: str) -> str | None:
        found = layout.split(store_key)
        if found is None:
            return None
        if found[0] is layout.LEADER:
            return EVERY
        if found[0] is layout.PROOFS:
            return "@".join(found[1].split("@")[:2])
        return found[1] if found[0] is layout.VERDICTS else None

    def step(self, key: str) -> Outcome:
        view = self.ground.view
        kept = view.verdicts.get(key)
        if kept is None or not view.fresh or not self.ground.is_primary() or not kept.value.in_force:
            return Outcome("")
        self.docket.follow(view)
        waiting: dict[str, list[str]] = {}
        free: list[str] = []
        for uuid in _order(view, kept.value):
            why, name = self._recover(key, kept, uuid), _name(self.ground.view, uuid)
            waiting.setdefault(why, []).append(name) if why else free.append(name)
            self._tell(uuid, f"waits: its node {kept.value.node} is lost; {why}") if why else None
        said = [f"guests of node {kept.value.node} are let go: {_some(free)}"] if free else []
        if waiting:
            reasons = "; ".join(f"{_some(names)}: {why}" for why, names in sorted(waiting.items()))
            said.append(f"guests of node {kept.value.node} wait: {reasons}")
        return Outcome("; ".join(said), LOOK_S if waiting else None)

    def note(self, key: str, outcome: Outcome) -> None:
        """Shown in the node's record."""

    def _recover(self, life: str, verdict: Kept[Verdict], uuid: str) -> str:
        """Why it waits; "" when its claim has moved, or does not name this life any more. Raises Conflict: then all of
        it is looked at again.
        """
        view = self.ground.view
        claim, wanted = view.claims.get(uuid), view.vm_wanted.get(uuid)
        if claim is None or not _of(claim.value, verdict.value):
            return ""
        if claim.value.phase is Phase.TASK and (why := self._task(claim.value, life)):
            return why
        judged = self._judged(life, verdict.value, uuid, claim.value, wanted)
        if not judged.proofs:
            return judged.why
        self._move(life, verdict, claim, wanted, judged)
        return ""

    def _tell(self, uuid: str, sentence: str) -> None:
        """Whoever looks at the guest reads what it waits for. Its node, when it is back, says what is true then."""
        seen = self.ground.view.vm_seen.get(uuid)
        if seen is not None and seen.value.sentence != sentence:
            said = replace(seen.value, sentence=sentence)
            self.ground.commit(self.ground.lead(), Set(layout.VM_SEEN, uuid, said, seen.version))

    def _judged(self, life: str, verdict: Verdict, uuid: str, claim: Claim, wanted: Kept[VmWanted] | None) -> Judged:
        view = self.ground.view
        description = self.ground.descriptions.of(wanted.value) if wanted else None
        guest = guest_of(view, claim, _name(view, uuid), description)
        fenced = self.docket.self_fenced(life, verdict)
        return sufficient(
            guest, proofs_of(view, life), self_fenced=fenced, demand=self.demand, coming=self._coming(life)
        )

    def _coming(self, life: str) -> frozenset[str]:
        """Pools that may yet shut the node out in a moment."""
        case = self.docket.cases.get(life)
        since_s = case.agreed_s if case else None
        if since_s is None or self.ground.clock.boottime_s() - since_s > STORAGE_WAIT_S:
            return frozenset()
        rungs = {rung for rung, kind in self.demand.rungs.items() if kind is ProofKind.NO_WRITE}
        return frozenset(name for name, kept in self.ground.view.pools.items() if kept.value.driver in rungs)

    def _task(self, claim: Claim, life: str) -> str:
        """A task needs the guest off. Of one that ran on the dead node nothing goes on, once that is proved off."""
        task = self.ground.repository.find(layout.TASKS, claim.request_id)
        if task is None or task.value.ended or (task.value.node == claim.holder and is_off(self.ground.view, life)):
            return ""
        return f"task {task.value.id} has it off"

    def _move(
        self, life: str, verdict: Kept[Verdict], claim: Kept[Claim], wanted: Kept[VmWanted] | None, judged: Judged
    ) -> None:
        view, uuid = self.ground.view, claim.value.uuid
        new = self._moved(claim.value, wanted)
        checks = [Unchanged(layout.PROOFS, id, view.proofs[id].version) for id in judged.proofs]
        told: list[Write] = []
        seen = view.vm_seen.get(uuid)
        if seen is not None and new.phase is Phase.FREE:
            off = self._off(seen.value, new, verdict.value, judged, wanted)
            told.append(Set(layout.VM_SEEN, uuid, off, seen.version))
        self.ground.commit(
            self.ground.lead(),
            Set(layout.CLAIMS, uuid, new, claim.version),
            Unchanged(layout.VERDICTS, life, verdict.version),
            *checks,
            *told,
        )

    def _off(self, seen: VmSeen, new: Claim, verdict: Verdict, judged: Judged, wanted: Kept[VmWanted] | None) -> VmSeen:
        """What is told of it now, and what will be told of this later (`pvc vm why`)."""
        shall = wanted is not None and wanted.value.want is Want.START
        node, proved = verdict.node, "; ".join(_seen(self.ground.view.proofs[id].value.proof) for id in judged.proofs)
        return replace(
            seen,
            guest=GuestState.OFF,
            vnc_port=0,
            vnc_listen="",
            crashes=0,
            sentence=f"its node {node} is lost; " + (f"it starts on {new.holder}" if shall else "it stays off"),
            anew_why=f"recovered from {node}, which was given up ({verdict.why}) and proved harmless ({proved})",
            anew_at_s=self.ground.clock.wall_s(),
        )

    def _moved(self, claim: Claim, wanted: Kept[VmWanted] | None) -> Claim:
        """To the target of a migration that had got under way (its copy may be whole: no memory is lost), else free,
        and to where it fits best now; it waits at home where it fits nowhere.
        """
        if claim.phase is Phase.MIGRATING and claim.arrival is not None and self._takes(claim.target, claim.arrival):
            return handed_over(claim, claim.arrival)
        return carried(claim, self._place(claim, wanted) or claim.holder)

    def _takes(self, target: str | None, arrival: Arrival) -> bool:
        """The target prepared for it, in the life it has now, and is not lost itself."""
        view = self.ground.view
        seen = view.node_seen.get(target or "")
        same = seen is not None and seen.value.incarnation == arrival.incarnation
        return same and not arrival.refused and life_id(target or "", arrival.incarnation) not in view.verdicts

    def _place(self, claim: Claim, wanted: Kept[VmWanted] | None) -> str | None:
        if wanted is None or wanted.value.want is not Want.START:
            return None
        view, describe = self.ground.view, self.ground.descriptions.of
        need = need_of(view, wanted.value, describe(wanted.value))
        return choose_node(view, need, describe, exclude={claim.holder: "it is lost"}).node


def _of(claim: Claim, verdict: Verdict) -> bool:
    mine = claim.holder == verdict.node and claim.incarnation == verdict.incarnation
    return mine and claim.phase is not Phase.FREE


def _order(view: ClusterView, verdict: Verdict) -> list[str]:
    """Those of higher priority first, and those that shall run before those that shall not."""

    def rank(uuid: str) -> tuple[int, bool, str]:
        kept = view.vm_wanted.get(uuid)
        priority = kept.value.priority if kept else 0
        return -priority, kept is None or kept.value.want is not Want.START, _name(view, uuid)

    return sorted((uuid for uuid, claim in view.claims.items() if _of(claim.value, verdict)), key=rank)


def _name(view: ClusterView, uuid: str) -> str:
    kept = view.vm_wanted.get(uuid)
    return kept.value.name if kept else uuid


def _seen(proof: Proof) -> str:
    return f"{proof.rung}: " + (f"pool {proof.pool}, {proof.seen}" if proof.pool else proof.seen)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
