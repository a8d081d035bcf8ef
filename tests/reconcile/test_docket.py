"""When a node stands still is counted from its last heartbeat, not from when its verdict was heard of."""

from __future__ import annotations

from dataclasses import replace

from pvc_core.model.node import Heartbeat
from pvc_core.model.verdict import Verdict
from pvc_core.model.view import ClusterView, Kept
from pvc_core.policy.suspicion import Memory, Watched
from pvc_core.reconcile.docket import Docket
from pvc_core.testing.clock import FakeClock

LIFE = "hv2@i1"
BEAT = Heartbeat(node="hv2", incarnation="i1", beat=7)
VERDICT = Verdict(
    node="hv2",
    incarnation="i1",
    by="hv1",
    term=1,
    why="silent",
    coordinators=("hv1",),
    agreed=("hv1",),
    armed=True,
    limit_s=8.0,
)
BEFORE = ClusterView(heartbeats={"hv2": Kept(BEAT, 7, 70)})
CONDEMNED = Kept(replace(BEAT, condemned=True), 8, 80)


def docket(*, last_seen: Heartbeat = BEAT) -> tuple[Docket, FakeClock]:
    """Its judge saw that heartbeat 6 s ago."""
    clock = FakeClock()
    made = Docket(clock)
    made.memory = Memory(
        nodes={
            "hv2": Watched(stamp=70, beat=last_seen, version=7, seen_s=clock.boottime_s(), since_s=clock.boottime_s())
        }
    )
    clock.move(6.0)
    return made, clock


def with_verdict(beat: Kept[Heartbeat]) -> ClusterView:
    return replace(BEFORE, heartbeats={"hv2": beat}, verdicts={LIFE: Kept(VERDICT, 0)})


def test_the_heartbeat_that_was_known_counts_though_the_judge_has_not_looked_since() -> None:
    made, clock = docket()
    made.follow(with_verdict(CONDEMNED))
    clock.move(3.4)
    assert not made.self_fenced(LIFE, VERDICT)
    clock.move(0.2)
    assert made.self_fenced(LIFE, VERDICT), "8 s, freezing and a margin after it was seen"


def test_it_counts_too_when_its_mark_is_seen_after_the_verdict() -> None:
    made, clock = docket()
    made.follow(with_verdict(BEFORE.heartbeats["hv2"]))
    made.follow(with_verdict(CONDEMNED))
    clock.move(3.6)
    assert made.self_fenced(LIFE, VERDICT)


def test_a_heartbeat_that_was_not_known_here_may_have_been_sent_a_moment_ago() -> None:
    for seen in (replace(BEAT, beat=6), replace(BEAT, incarnation="i0")):
        made, clock = docket(last_seen=seen)
        made.follow(with_verdict(CONDEMNED))
        clock.move(9.4)
        assert not made.self_fenced(LIFE, VERDICT)
        clock.move(0.2)
        assert made.self_fenced(LIFE, VERDICT)
