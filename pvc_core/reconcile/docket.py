"""What one coordinator knows of the nodes it watches and of each verdict, on its own clock; in memory only.

Every coordinator keeps it, so that a new primary need not begin to count. Times are this node's CLOCK_BOOTTIME.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from pvc_core.clock import Clock
from pvc_core.errors import Refused
from pvc_core.model.fence import ProofKind
from pvc_core.model.node import DaemonState
from pvc_core.model.verdict import KeptProof, Verdict, life_id
from pvc_core.model.view import ClusterView
from pvc_core.model.vm import Phase
from pvc_core.policy.proofs import self_fenced_at_s, watchdog_bit_at_s
from pvc_core.policy.suspicion import Asked, Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """A guard's direct answer."""

    incarnation: str
    condemned: bool = False
    all_gone: bool = False
    """Of the life that was to be released none of its guests is left in /proc: the node's word."""


class Questions(Protocol):
    """Direct questions to other nodes' guards, on every host network at once."""

    def alive(self, nodes: Collection[str]) -> Mapping[str, Alive]:
        """Whoever answered within half a second. Raises nothing."""

    def release(self, verdict: Verdict) -> Alive | None:
        """Tell the condemned to kill its guests; what it answered within half a second, None when nothing."""


@dataclass(slots=True)
class Case:
    """One verdict, as this coordinator saw it come."""

    seen_s: float
    """When it saw the node's last heartbeat, never before that was sent."""
    recognised: bool = False
    """That heartbeat was known here before the verdict; else `seen_s` is when the verdict was seen."""
    agreed_s: float | None = None
    """When it first saw the verdict in force."""
    released_s: float | None = None
    """When the condemned was first told to release its guests, and had its time to answer."""
    switched_on: bool = False
    """It was switched on again, or shall stay off."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Rung -> why it gave no proof, the last time."""


class Docket:
    """Safe from any thread of the daemon."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self.memory = Memory()
        self.asked: dict[str, Asked] = {}
        self.cases: dict[str, Case] = {}
        self.silent: dict[str, str] = {}
        """Nodes that this judge does not hear -> what hinders their verdict, on the primary."""
        self.read_off: set[str] = set()
        """Lives whose power was read off without anybody's acting."""
        self.to_read: tuple[tuple[str, str], ...] = ()
        """(node, incarnation) of suspects that may be booting, or may be off."""
        self.read: Callable[[], None] = lambda: None
        """Told when there is power to be read."""
        self._turn: tuple[str, float] | None = None

    # -- direct questions ----------------------------------------------------------------------------------------------

    def note_answers(self, nodes: Collection[str], answers: Mapping[str, Alive]) -> None:
        now_s = self._clock.boottime_s()
        with self._lock:
            for node in nodes:
                answer, old = answers.get(node), self.asked.get(node, Asked())
                if answer is None:
                    self.asked[node] = replace(old, unanswered=old.unanswered + 1)
                else:
                    self.asked[node] = Asked(
                        answered_s=now_s, incarnation=answer.incarnation, condemned=answer.condemned
                    )
            for node in set(self.asked) - set(nodes):
                if not self._answered_lately(node, now_s):
                    del self.asked[node]

    def _answered_lately(self, node: str, now_s: float) -> bool:
        at_s = self.asked[node].answered_s
        return at_s is not None and now_s - at_s < 10.0

    # -- verdicts ------------------------------------------------------------------------------------------------------

    def follow(self, view: ClusterView) -> None:
        """Open a case for each verdict that is new here, close those that are gone."""
        now_s = self._clock.boottime_s()
        with self._lock:
            for life, kept in view.verdicts.items():
                case = self.cases.setdefault(life, Case(seen_s=now_s))
                self._recognise(case, kept.value, view)
                if case.agreed_s is None and kept.value.in_force:
                    case.agreed_s = now_s
            for life in set(self.cases) - set(view.verdicts):
                del self.cases[life]
            self.read_off &= {life_id(node, incarnation) for node, incarnation in self.to_read} | set(self.cases)

    def _recognise(self, case: Case, verdict: Verdict, view: ClusterView) -> None:
        """The last heartbeat, over which the verdict was written, may be one that this coordinator saw long ago. It may
        know so only later: the verdict is often in the picture before the mark on the heartbeat, or the judge's next
        look.
        """
        node, beat = self.memory.nodes.get(verdict.node), view.heartbeats.get(verdict.node)
        if case.recognised or node is None or beat is None or not beat.value.condemned:
            return
        last = (verdict.incarnation, beat.value.beat)
        if last == (beat.value.incarnation, beat.value.beat) == (node.beat.incarnation, node.beat.beat):
            case.seen_s, case.recognised = min(case.seen_s, node.seen_s), True

    def self_fenced(self, life: str, verdict: Verdict) -> bool:
        return self._past(life, verdict, self_fenced_at_s)

    def watchdog_bit(self, life: str, verdict: Verdict) -> bool:
        return self._past(life, verdict, watchdog_bit_at_s)

    def _past(self, life: str, verdict: Verdict, at: Callable[[Verdict, float, float], float | None]) -> bool:
        case = self.cases.get(life)
        if case is None or case.agreed_s is None:
            return False
        at_s = at(verdict, case.seen_s, case.agreed_s)
        return at_s is not None and self._clock.boottime_s() >= at_s

    # -- one act at a time ---------------------------------------------------------------------------------------------

    def take_turn(self, life: str, for_s: float) -> None:
        """Nothing destructive is done to two nodes at once. Raises Refused while another node has the turn."""
        now_s = self._clock.boottime_s()
        with self._lock:
            if self._turn is not None and self._turn[0] != life and now_s < self._turn[1]:
                raise Refused(f"not yet: {self._turn[0]} is being fenced")
            self._turn = (life, now_s + for_s)

    def end_turn(self, life: str) -> None:
        with self._lock:
            if self._turn is not None and self._turn[0] == life:
                self._turn = None


def proofs_of(view: ClusterView, life: str) -> list[KeptProof]:
    return [
        kept.value
        for _, kept in sorted(view.proofs.items())
        if life_id(kept.value.proof.node, kept.value.proof.incarnation) == life
    ]


def is_off(view: ClusterView, life: str) -> bool:
    """Something proves that nothing of this life executes any more."""
    return any(kept.proof.kind is ProofKind.OFF for kept in proofs_of(view, life))


def removed(view: ClusterView, node: str) -> bool:
    """An operator had it forgotten (kinds/nodes.py): it was silent, nothing is tied to it, and it reaches nobody."""
    return node not in view.heartbeats and node not in view.node_seen


def off_on_purpose(view: ClusterView) -> frozenset[str]:
    """Nodes whose daemon was stopped, and that no claim binds: they were shut down, and nobody misses anything."""
    bound = {
        node
        for claim in view.claims.values()
        if claim.value.phase is not Phase.FREE
        for node in (claim.value.holder, claim.value.target)
    }
    return frozenset(
        name
        for name, kept in view.node_seen.items()
        if kept.value.daemon_state is DaemonState.STOP and name not in bound
    )


def proven_off(view: ClusterView) -> frozenset[str]:
    """Nodes whose last known life is proved to be over."""
    return frozenset(
        name for name, kept in view.heartbeats.items() if is_off(view, life_id(name, kept.value.incarnation))
    )
