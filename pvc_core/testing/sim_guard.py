# SPDX-License-Identifier: LGPL-3.0-or-later
"""A simulated node's guard: the real heartbeat and the real deadline, on a process table and a network of pretence.

It outlives pvcnoded, and may be killed itself: what the real one keeps in /run (the deadline, who is frozen, which
generations were permitted) is kept, what it has in memory (promises it gave) is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.errors import Conflict, Exists, NotFound, PvcError, Refused, Retry, StoreUnavailable
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.facts import Facts
from pvc_core.guard.heartbeat import Heart
from pvc_core.model.fence import Proof, ProofKind
from pvc_core.model.verdict import KeptProof, Verdict, life_id
from pvc_core.reconcile.docket import Alive

if TYPE_CHECKING:
    from pvc_core.testing.sim_ha import HaNode

BEAT_S, SOON_S, CALL_S = 1.0, 0.25, 0.8
PROMISE_S, RATE = 3.0, 0.001
SETTLE_S = 2.0
"""A start that had its permit just before may still appear."""


@dataclass
class SimGuard:
    """One incarnation's guard. `spares` says which guests no other node could claim."""

    node: HaNode
    limit_s: float = 8.0
    armed: bool = True
    spares: Callable[[str], bool] = lambda uuid: False
    deadline: Deadline = field(init=False)
    highest: dict[str, int] = field(default_factory=dict)
    frozen_since_sent_s: float | None = None
    """The last accepted heartbeat when it froze; only a later one lets it thaw."""
    frozen: bool = False

    def __post_init__(self) -> None:
        self.deadline = Deadline(self.limit_s)
        self.clear_since_s: float | None = None
        self.all_gone = False
        self.begin()

    def begin(self) -> None:
        """A new process: the deadline of before is read from /run."""
        node = self.node
        self.heart = Heart(
            node.name,
            node.incarnation,
            limit_s=self.limit_s,
            clock=node.clock,
            deadline=self.deadline,
            facts=Facts,
        )
        self.began_s = node.clock.boottime_s()
        self.next_s = self.began_s
        self.given: dict[str, float] = {}
        """Life -> until when the last promise to it holds."""
        self.refused: set[str] = set()

    # -- pvcnoded's permits --------------------------------------------------------------------------------------------

    def permit(self, uuid: str, *, generation: int, kind: str = "start", for_s: float = 30.0) -> float:
        node = self.node
        if node.guard_away:
            raise Retry("the guard does not answer", again_in_s=1.0)
        if self.deadline.condemned or self.deadline.has_passed(node.clock.boottime_s()):
            raise Refused("no guest may start here: the store has not heard this node for its limit")
        if generation < self.highest.get(uuid, -1):
            raise Refused(f"no permit for {uuid} with generation {generation}: a later one was permitted before")
        self.highest[uuid] = generation
        node.host.permits[uuid] = generation
        return for_s

    def revoke(self, uuid: str) -> bool:
        if self.node.guard_away:
            raise Retry("the guard does not answer", again_in_s=1.0)
        return self.node.host.permits.pop(uuid, None) is not None

    # -- time goes by --------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        now_s = self.node.clock.boottime_s()
        self._watch(now_s)
        if now_s >= self.next_s:
            heard = self._beat()
            self.next_s = now_s + (BEAT_S if heard else SOON_S)
        self._watch(self.node.clock.boottime_s())

    def _beat(self) -> bool:
        store = self.node.guard_store
        if self.deadline.condemned:
            return False
        try:
            self.heart.beat(store, armed=self.armed and not self.node.maintenance_heard(), deadline_s=CALL_S)
            self._agree()
            return True
        except StoreUnavailable:
            self._ask_for_promises()
        except PvcError:
            pass
        return False

    # -- agreement -----------------------------------------------------------------------------------------------------

    def _agree(self) -> None:
        """Each verdict without this coordinator's name: no promise any more, and the name when the last ran out."""
        if self.node.name not in self.node.sim.coordinators:
            return
        records = Repository(self.node.guard_store)
        for life, kept in records.all(layout.VERDICTS).items():
            verdict: Verdict = kept.value
            if self.node.name in verdict.agreed or self.node.name not in verdict.coordinators:
                continue
            self.refused.add(life)
            if self.node.clock.boottime_s() < self._promised_until_s(life):
                continue
            try:
                agreed = replace(verdict, agreed=(*verdict.agreed, self.node.name))
                records.set(layout.VERDICTS, life, agreed, if_version=kept.version)
            except (Conflict, NotFound):
                pass  # somebody else agreed first: at the next beat

    def _promised_until_s(self, life: str) -> float:
        """What an earlier process of this guard may have promised is not known."""
        return max(self.given.get(life, 0.0), self.began_s + PROMISE_S * (1 + RATE))

    # -- promises ------------------------------------------------------------------------------------------------------

    def _ask_for_promises(self) -> None:
        now_s, sent = self.node.clock.boottime_s(), self.deadline.last_sent_s
        if not self.deadline.armed or sent is None or now_s - sent < 2 * BEAT_S:
            return
        promised = 0
        for name in self.node.sim.coordinators:
            other, net = self.node.sim.nodes[name], self.node.sim.net
            if net.on_any(self.node.name, name) and other.guard_hears():
                given = other.guard.promise(life_id(self.node.name, self.node.incarnation))
                promised += given and net.on_any(name, self.node.name)
        if 2 * promised > len(self.node.sim.coordinators):
            self.deadline.prolong(now_s + PROMISE_S, now_s)

    def promise(self, life: str) -> bool:
        """Only a coordinator without a store gives one, and none to a life whose verdict it has met."""
        now_s, sent = self.node.clock.boottime_s(), self.deadline.last_sent_s
        if (
            life in self.refused
            or self.deadline.condemned
            or (sent is not None and now_s - sent <= 2 * BEAT_S + CALL_S)
        ):
            return False
        self.given[life] = now_s + PROMISE_S * (1 + RATE)
        return True

    # -- the deadline --------------------------------------------------------------------------------------------------

    def _watch(self, now_s: float) -> None:
        if self.deadline.condemned:
            self._kill(now_s)
        elif self.deadline.has_passed(now_s):
            self._freeze()
        elif self.frozen and self.deadline.last_sent_s != self.frozen_since_sent_s:
            self._thaw()

    def _freeze(self) -> None:
        if not self.frozen:
            self.frozen, self.frozen_since_sent_s = True, self.deadline.last_sent_s
        for uuid, guest in self.node.host.guests.items():
            guest.frozen = guest.frozen or not self.spares(uuid)

    def _thaw(self) -> None:
        self.frozen = False
        for uuid, guest in self.node.host.guests.items():
            guest.frozen = False
            self.node.sim.world.note_execution(uuid)

    def _kill(self, now_s: float) -> None:
        self.node.host.permits.clear()
        if self.node.host.guests:
            self.clear_since_s = None
            for uuid in list(self.node.host.guests):
                self.node.sim.world.end(self.node.name, uuid, "killed")
        elif self.clear_since_s is None:
            self.clear_since_s = now_s
        if self.clear_since_s is not None and now_s - self.clear_since_s >= SETTLE_S and not self.all_gone:
            self.all_gone = True
            self.node.ended.add(self.node.incarnation)
            self._say_word()
            self.node.sim.later(0.5, self.node.begin_anew, self.node.incarnation)

    def _say_word(self) -> None:
        proof = Proof(
            kind=ProofKind.OFF, node=self.node.name, incarnation=self.node.incarnation, rung="word",
            seen="none of its guests is left", how="its guard",
        )  # fmt: skip
        kept = KeptProof(proof=proof, by=self.node.name, term=0)
        try:
            Repository(self.node.guard_store).add(layout.PROOFS, kept.id, kept)
        except (Exists, StoreUnavailable):
            pass  # it is said again in answer to the judge, as long as this life lasts

    # -- questions -----------------------------------------------------------------------------------------------------

    def alive(self) -> Alive:
        return Alive(incarnation=self.node.incarnation, condemned=bool(self.deadline.condemned))

    def release(self, incarnation: str, why: str) -> Alive:
        if incarnation == self.node.incarnation:
            self.heart.condemn(why)
        return replace(self.alive(), all_gone=incarnation in self.node.ended)


@dataclass(frozen=True)
class SimQuestions:
    """Direct questions from one node, as its guard would carry them."""

    node: HaNode

    def alive(self, nodes: object) -> dict[str, Alive]:
        return {name: answer for name in nodes if (answer := self._ask(name)) is not None}  # type: ignore[attr-defined]

    def release(self, verdict: Verdict) -> Alive | None:
        return self._ask(verdict.node, lambda guard: guard.release(verdict.incarnation, verdict.why))

    def _ask(self, name: str, question: Callable[[SimGuard], Alive] = lambda guard: guard.alive()) -> Alive | None:
        net, other = self.node.sim.net, self.node.sim.nodes[name]
        if not net.on_any(self.node.name, name) or not other.guard_hears():
            return None
        answer = question(other.guard)
        return answer if net.on_any(name, self.node.name) else None
