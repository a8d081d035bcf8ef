"""Who is primary: one coordinator holds a lease, renews it, hands it on, loses it; the others watch it.

What a primary does is not decided here. docs/primary.md tells the rules, and why two never act at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pvc_core.clock import Clock
from pvc_core.cluster import layout
from pvc_core.cluster.heard import Heard
from pvc_core.cluster.lease import HOLD_S, LATE_S, RETURN_S, TAKEOVER_S, LeaseRecords, Standing
from pvc_core.cluster.repository import Unchanged
from pvc_core.errors import Conflict, NotFound, PvcError, StoreUnavailable
from pvc_core.model.cluster import Leader, Lease, PrimaryWanted
from pvc_core.model.node import DaemonState
from pvc_core.model.verdict import life_id
from pvc_core.model.view import ClusterView, Kept
from pvc_core.store.base import Store

RENEW_S, LOOK_S = 1.0, 0.5
AGAIN_S, RACE_AGAIN_S = 0.25, 0.1
"""After no answer; after somebody else wrote first."""


@dataclass(frozen=True, slots=True)
class _Silence:
    """How long the lease stands still, by own looks that were answered."""

    stamp: int
    lease: Lease | None
    since_s: float
    """The look that first showed this very record."""
    again_s: float
    """The first of the looks since which all were answered, none of them late."""
    last_s: float | None
    """None: a look since then was not answered."""


class Leadership:
    """One coordinator's part. `tick` is called by one thread (`run`) or a simulator, all else from anywhere.

    `view` is the present picture: who is there, and what an operator asked for. `lower` makes this node let go of all
    that only a primary may have, before the role is handed on; it raises PvcError when it could not. `renewed` is told
    until when (boot time) this node may act, before it does. `changed`: it began or ceased to act. None of them may
    call back.
    """

    def __init__(
        self,
        *,
        node: str,
        incarnation: str,
        coordinators: tuple[str, ...],
        store: Store,
        clock: Clock,
        log: Any,
        view: Callable[[], ClusterView],
    ) -> None:
        self.node, self._incarnation, self._coordinators = node, incarnation, coordinators
        self._records, self._clock, self._log, self._view = LeaseRecords(store), clock, log, view
        self.lower: Callable[[], None] = lambda: None
        self.renewed: Callable[[float], None] = lambda until_s: None
        self.changed: Callable[[], None] = lambda: None
        self.answered_s: float | None = None
        """When the store last accepted a renewal of this node's, or answered its look at another's (boot time)."""
        self.led = False
        """Whether it acted at all since this object was made."""
        self._heard = Heard(clock)
        self._standing: Standing | None = None
        self._silence: _Silence | None = None
        self._beat = 0
        self._unanswered = False
        self._not_now = 0
        """A request that could not be met here: it is not tried again."""
        self._woken, self._stopping = threading.Event(), False

    # -- for everybody -------------------------------------------------------------------------------------------------

    def acts(self, *, for_s: float = 0.0) -> bool:
        """Whether this node is primary, and may act for more than `for_s` seconds. To be asked before every act."""
        return self.left_s() > for_s

    def left_s(self) -> float:
        """How long this node may act unless a renewal is accepted meanwhile; 0 when it may not."""
        standing = self._standing
        return max(0.0, standing.until_s - self._clock.boottime_s()) if standing else 0.0

    @property
    def term(self) -> int:
        """0 while this node does not act."""
        standing = self._standing
        return standing.term if standing and self.acts() else 0

    def condition(self) -> Unchanged:
        """Part of every commit of a leader: another term makes it fail with Conflict, whoever slept in between.

        Raises Conflict when this node may not act now.
        """
        standing = self._standing
        if standing is None or not self.acts():
            raise Conflict(f"node {self.node} is not primary now")
        return Unchanged(layout.LEADER, layout.ONLY, standing.leader.version)

    def wake(self) -> None:
        """Something changed that may concern the role: look now."""
        self._woken.set()

    def run(self) -> None:
        """Tick until `stop`. The body of a daemon's thread."""
        while not self._stopping:
            self._woken.clear()
            try:
                again_s = self.tick()
            except Exception:  # noqa: BLE001  # a bug must not end the thread: nobody else renews this lease
                self._log.exception("the primary's lease could not be looked after")
                again_s = RENEW_S
            if not self._stopping:
                self._woken.wait(again_s)

    def stop(self) -> None:
        """End `run`; the lease stays as it is."""
        self._stopping = True
        self._woken.set()

    def resign(self) -> None:
        """This daemon ends (`run` has): let another be primary now, not after E; without another it may come back in
        time itself. Raises nothing.
        """
        standing = self._standing
        others = [name for name in self._coordinators if self._may_lead(name)]
        if standing is None or not others:
            return
        try:
            self._hand_over(standing, others[0], self._asked_so_far(), "its pvcnoded ends")
        except PvcError as error:
            self._log.warning(f"the role of primary could not be handed on: {error}")

    # -- one step ------------------------------------------------------------------------------------------------------

    def tick(self) -> float:
        """Renew, hand on, or look at another's lease; seconds until the next tick."""
        self._heard.look(self._view())
        try:
            if self._standing:
                self._hold(self._standing)
            else:
                self._look()
            self.answered_s = self._clock.boottime_s()
        except StoreUnavailable as error:
            self._silence = replace(self._silence, last_s=None) if self._silence else None
            if self._standing and not self._unanswered:
                self._unanswered = True
                self._log.warning(f"the primary's lease is not renewed: {error.message}")
            return AGAIN_S if self._standing else LOOK_S
        except (Conflict, NotFound):
            self._find_out()
            return RACE_AGAIN_S
        finally:
            self._expire()
        return RENEW_S if self._standing else LOOK_S

    # -- the holder ----------------------------------------------------------------------------------------------------

    def _hold(self, standing: Standing) -> None:
        wanted = self._request(standing)
        if wanted is not None and self.acts():
            self._answer(standing, wanted)
        if self._standing:
            self._renew(self._standing)

    def _renew(self, standing: Standing) -> None:
        sent_s = self._clock.boottime_s()
        self._beat += 1  # whatever becomes of this write, no other of ours is equal to it
        lease = self._records.renew(standing.lease, self._beat)
        self._act_until(sent_s + HOLD_S, replace(standing, lease=lease))

    def _act_until(self, until_s: float, standing: Standing) -> None:
        acted = self.acts()
        if self._unanswered:
            self._unanswered = False
            self._log.info("the primary's lease is renewed again")
        self.led = True
        self.renewed(until_s)
        self._standing = replace(standing, until_s=until_s)
        if not acted:
            self.changed()

    def _find_out(self) -> None:
        """Someone wrote before us: an earlier write of ours whose answer was lost, or another's term?"""
        standing = self._standing
        if standing is None:
            return
        try:
            lease, leader = self._records.lease(), self._records.leader()
        except StoreUnavailable:
            return  # the next write tells
        if lease and leader and lease.value.term == leader.value.term == standing.term:
            self._standing = replace(standing, leader=leader, lease=lease)
        else:
            self._lose(f"node {self.node} is not primary any more, {leader.value.node if leader else 'nobody'} is")

    def _request(self, standing: Standing) -> PrimaryWanted | None:
        """What an operator asked for and nobody has answered yet."""
        kept = self._view().primary_wanted.get(layout.ONLY)
        done = max(standing.leader.value.asked, self._not_now)
        return kept.value if kept is not None and kept.value.asked > done else None

    def _answer(self, standing: Standing, wanted: PrimaryWanted) -> None:
        if wanted.node == self.node or not self._may_lead(wanted.node):
            if wanted.node != self.node:
                self._log.warning(f"node {wanted.node} cannot be primary as asked: it is silent, or its pvcnoded is")
            leader = self._records.note(replace(standing.leader.value, asked=wanted.asked), standing.leader)
            self._standing = replace(standing, leader=leader)
            return
        try:
            self._hand_over(standing, wanted.node, wanted.asked, f"asked by {wanted.asked_by or 'an operator'}")
        except (StoreUnavailable, Conflict, NotFound):
            raise
        except PvcError as error:
            self._not_now = wanted.asked
            self._log.error(f"node {self.node} stays primary: {error}")

    def _hand_over(self, standing: Standing, to: str, asked: int, why: str) -> None:
        """First nothing of the primary's is left here, then the other is named; it acts from its own renewal on."""
        seen = self._view().node_seen[to].value
        self._let_go(standing)
        leader = Leader(node=to, incarnation=seen.incarnation, term=standing.term + 1, asked=asked)
        self._records.move(leader, standing.leader, 0, standing.lease)
        self._lose(f"node {self.node} handed the role of primary to {to}, term {leader.term}: {why}")

    def _let_go(self, standing: Standing) -> None:
        """Stop acting, then see to it that nothing is left of it. If nobody is named then, a renewal resumes it."""
        self._standing = replace(standing, until_s=0.0)
        self.lower()

    def _expire(self) -> None:
        """The lease ran out without a renewal: another may be primary by now."""
        standing = self._standing
        if standing and standing.until_s and not self.acts():
            self._standing = replace(standing, until_s=0.0)
            self._log.error(f"node {self.node} acts as primary no more: its lease was not renewed for {HOLD_S:g} s")
            self.changed()

    def _lose(self, sentence: str) -> None:
        self._standing, self._silence, self._unanswered = None, None, False
        self._log.info(sentence)
        self.changed()

    # -- the others ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        lease = self._records.lease()
        if life_id(self.node, self._incarnation) in self._view().verdicts:
            return  # given up for dead: others decide, until it has begun anew
        if lease is None:
            self._look_at_none()
        elif lease.value.node != self.node:
            self._take_if_silent(lease.value.node, lease)
        elif lease.value.beat == 0 and lease.value.incarnation == self._incarnation:
            self._accept(lease)
        else:  # of an earlier life of this daemon, which is over
            self._take(lease, self._records.leader(), "it had the role before it restarted")

    def _look_at_none(self) -> None:
        """Nobody ever held a lease: a new cluster, or one that had a single coordinator until now."""
        leader = self._records.leader()
        if leader is None or leader.value.node == self.node:
            self._take(None, leader, "no other coordinator had the role")
        else:
            self._take_if_silent(leader.value.node, None)

    def _take_if_silent(self, holder: str, lease: Kept[Lease] | None) -> None:
        silence = self._silence_of(lease)
        silent_s = self._clock.boottime_s() - silence.since_s
        if silent_s >= TAKEOVER_S and self._clock.boottime_s() - silence.again_s >= RETURN_S:
            self._take(lease, self._records.leader(), f"{holder} was silent for {silent_s:.1f} s")

    def _silence_of(self, lease: Kept[Lease] | None) -> _Silence:
        """Counted from the answer that first showed this very record, so never from before its holder sent it."""
        now_s, last = self._clock.boottime_s(), self._silence
        stamp, value = (lease.stamp, lease.value) if lease else (0, None)
        if last is None or (last.stamp, last.lease) != (stamp, value):
            last = _Silence(stamp, value, now_s, now_s, now_s)
        late = last.last_s is None or now_s - last.last_s > LATE_S
        self._silence = replace(last, last_s=now_s, again_s=now_s if late else last.again_s)
        return self._silence

    def _accept(self, lease: Kept[Lease]) -> None:
        leader = self._records.leader()
        if leader is not None and leader.value.term == lease.value.term:
            self._begin(leader.value, leader, lease, "it was handed over")

    def _take(self, lease: Kept[Lease] | None, leader: Kept[Leader] | None, why: str) -> None:
        term = max(leader.value.term if leader else 0, lease.value.term if lease else 0) + 1
        asked = leader.value.asked if leader else self._asked_so_far()
        mine = Leader(node=self.node, incarnation=self._incarnation, term=term, asked=asked)
        self._begin(mine, leader, lease, why)

    def _begin(self, mine: Leader, leader: Kept[Leader] | None, lease: Kept[Lease] | None, why: str) -> None:
        sent_s, self._beat, self._silence = self._clock.boottime_s(), 1, None
        new_leader, new_lease = self._records.move(mine, leader, self._beat, lease)
        self._log.info(f"node {self.node} is primary now, term {mine.term}: {why}")
        self._act_until(sent_s + HOLD_S, Standing(mine.term, 0.0, new_leader, new_lease))

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _may_lead(self, name: str) -> bool:
        """Another coordinator that is heard, and whose daemon works."""
        kept = self._view().node_seen.get(name)
        works = kept is not None and kept.value.daemon_state is DaemonState.RUN and not kept.value.custody
        return works and name in self._heard and name in self._coordinators and name != self.node

    def _asked_so_far(self) -> int:
        """A move that has another reason answers the requests of before too."""
        kept = self._view().primary_wanted.get(layout.ONLY)
        return kept.value.asked if kept else 0
