"""The judge: every coordinator watches every node's heartbeat; the primary condemns the incarnation that is silent.

A verdict is one commit over the very heartbeat that was seen last, so that of the two exactly one is accepted (B5). It
does nothing by itself: it is in force when a majority of coordinators has agreed, and what follows is verdict.py's,
ladder.py's and recovery.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Add, Set
from pvc_core.errors import StoreUnavailable
from pvc_core.model.verdict import Verdict, life_id
from pvc_core.model.view import ClusterView
from pvc_core.policy.suspicion import Look, Patience, Suspect, looked, suspects, to_ask
from pvc_core.reconcile.docket import Docket, Questions, off_on_purpose, proven_off
from pvc_core.reconcile.ground import Ground
from pvc_core.reconcile.outcome import Outcome

TICK_S = 0.5
COMMITTED_S = 1.5
"""The lease is renewed every second: an older answer is not this tick's."""


@dataclass(frozen=True, slots=True)
class JudgeReconciler:
    """On coordinators only. `serving`: whose store servers answered lately, None where there is only one."""

    ground: Ground
    docket: Docket
    questions: Questions
    patience: Patience = field(default_factory=Patience)
    serving: Callable[[], frozenset[str] | None] = lambda: None
    kind: str = "judge"

    def keys(self, view: ClusterView) -> Iterable[str]:
        return (layout.ONLY,) if self.ground.node in self.ground.coordinators else ()

    def concerned(self, store_key: str) -> str | None:
        return None

    def step(self, key: str) -> Outcome:
        docket, look = self.docket, self._look()
        nodes = to_ask(docket.memory, look, self.patience)
        if nodes:
            docket.note_answers(nodes, self.questions.alive(nodes))
            look = replace(self._look(), serving=self.serving())
        docket.memory = looked(docket.memory, look, self.patience)
        docket.follow(self.ground.view)
        found = suspects(docket.memory, look, self.patience) if self.ground.is_primary() else ()
        old, docket.to_read = docket.to_read, tuple((one.node, one.beat.incarnation) for one in found if one.if_off)
        if docket.to_read != old:
            docket.read()
        docket.silent = {one.node: one.hindrance for one in found if one.hindrance}
        for suspect in found:
            if self._may_condemn(suspect):
                return self._condemn(suspect)
        return Outcome("; ".join(f"node {one.node} is silent: {one.hindrance}" for one in found), TICK_S)

    def note(self, key: str, outcome: Outcome) -> None:
        """Verdicts speak for themselves."""

    def _look(self) -> Look:
        view = self.ground.view
        return Look(
            node=self.ground.node,
            now_s=self.ground.clock.boottime_s(),
            answered=view.fresh and not self.ground.condemned and self._answered(),
            beats=view.heartbeats,
            asked=dict(self.docket.asked),
            maintenance=view.maintenance,
            off=off_on_purpose(view),
            proven=proven_off(view),
            coordinators=self.ground.coordinators,
        )

    def _answered(self) -> bool:
        """The store took this node's own renewal, or answered its own question, a moment ago."""
        leadership = self.ground.leadership
        if leadership is None:
            try:
                self.ground.repository.find(layout.LEADER, layout.ONLY)
            except StoreUnavailable:
                return False
            return True
        answered_s = leadership.answered_s
        return answered_s is not None and self.ground.clock.boottime_s() - answered_s <= COMMITTED_S

    def _may_condemn(self, suspect: Suspect) -> bool:
        read_off = life_id(suspect.node, suspect.beat.incarnation) in self.docket.read_off
        return not suspect.hindrance or (suspect.if_off and read_off)

    def _condemn(self, suspect: Suspect) -> Outcome:
        """Raises Conflict when the node was heard meanwhile, or another is primary."""
        beat = suspect.beat
        verdict = Verdict(
            node=suspect.node,
            incarnation=beat.incarnation,
            by=self.ground.node,
            term=self.ground.term,
            why=suspect.why,
            coordinators=self.ground.coordinators,
            armed=beat.armed,
            limit_s=beat.limit_s,
            watchdog_s=beat.watchdog_s,
            at_s=self.ground.clock.wall_s(),
        )
        life = life_id(suspect.node, beat.incarnation)
        self.ground.commit(
            self.ground.lead(),
            Set(layout.HEARTBEATS, suspect.node, replace(beat, condemned=True), suspect.version),
            Add(layout.VERDICTS, life, verdict),
        )
        return Outcome(f"node {suspect.node} is given up: {suspect.why}", TICK_S)
