"""A node's state in words, in every situation it may be in: by its own last record, and by its heartbeat since."""

from __future__ import annotations

import pytest

from pvc_core.cluster.heard import Heard
from pvc_core.errors import Refused
from pvc_core.model.cluster import Settings
from pvc_core.model.node import CoordinatorState, DaemonState, HealthSeen, Heartbeat, NodeSeen
from pvc_core.model.verdict import Verdict, Vouch, life_id
from pvc_core.model.view import ClusterView, Kept
from pvc_core.policy.placement import NodeLoad
from pvc_core.services.node_state import awaited, demand_lost, judged
from pvc_core.services.pictures import NodePicture
from pvc_core.testing.clock import FakeClock

RUN, STOP, DEAD, INIT = DaemonState.RUN, DaemonState.STOP, DaemonState.DEAD, DaemonState.INIT


@pytest.mark.parametrize(
    ("on_record", "told_s", "life", "silent_s", "claims", "state", "words"),
    [
        (RUN, 1.0, "a", 0.5, True, RUN, "takes guests"),
        (RUN, 1.0, "a", 4.9, True, RUN, "takes guests"),
        (RUN, 1.0, "a", 12.0, True, DEAD, "not heard for 12 s"),
        (RUN, 14.0, "a", 0.5, True, STOP, "its pvcnoded has said nothing for 14 s"),
        (RUN, None, "b", 0.5, False, INIT, "it has booted"),
        (STOP, 14.0, "a", 0.5, True, STOP, "takes guests"),
        (STOP, 14.0, "a", 60.0, False, STOP, "off, or away"),
        (STOP, 14.0, "a", 60.0, True, DEAD, "not heard for 60 s"),
        (INIT, None, "a", 60.0, False, DEAD, "not heard for 60 s"),
        (DaemonState.SHUTDOWN, 1.0, "a", 0.5, True, DaemonState.SHUTDOWN, "takes guests"),
        (DEAD, 1.0, "a", 600.0, True, DEAD, "takes guests"),
        (DaemonState.FENCED, 1.0, "a", 600.0, True, DaemonState.FENCED, "takes guests"),
    ],
)
def test_states(
    on_record: DaemonState,
    told_s: float | None,
    life: str,
    silent_s: float,
    claims: bool,
    state: DaemonState,
    words: str,
) -> None:
    seen = NodeSeen(name="hv1", incarnation="a", daemon_state=on_record, sentence="takes guests")
    beat = Heartbeat(node="hv1", incarnation=life, beat=1, told_s=told_s)
    found = judged(seen, beat, silent_s=silent_s, dead_after_s=5.0, claims=claims)
    assert (found.daemon_state, words in found.sentence) == (state, True), found.sentence


@pytest.mark.parametrize(("silent_s", "state", "words"), [(30.0, STOP, "means to be back"), (130.0, DEAD, "not heard")])
def test_a_guard_that_was_stopped_in_order_has_its_time(silent_s: float, state: DaemonState, words: str) -> None:
    seen = NodeSeen(name="hv1", incarnation="a", daemon_state=RUN)
    beat = Heartbeat(node="hv1", incarnation="a", beat=1, back_in_s=120.0)
    found = judged(seen, beat, silent_s=silent_s, dead_after_s=5.0, claims=True)
    assert (found.daemon_state, words in found.sentence) == (state, True), found.sentence


def test_a_silent_node_in_maintenance_says_why_nothing_follows() -> None:
    seen = NodeSeen(name="hv1", incarnation="a", daemon_state=RUN)
    beat = Heartbeat(node="hv1", incarnation="a", beat=1)
    found = judged(seen, beat, silent_s=29.0, dead_after_s=5.0, claims=True, maintenance=True)
    assert found.sentence == "not heard for 29 s; nobody is given up while there is maintenance"


def test_silence_is_counted_from_consecutive_looks_only() -> None:
    """Ten minutes without a store say nothing of the nodes: all clocks begin anew with the first look after it."""
    clock = FakeClock()
    heard = Heard(clock)

    def look(stamp: int) -> None:
        beat = Heartbeat(node="x", incarnation="a", beat=1)
        heard.look(ClusterView(heartbeats={"still": Kept(beat, 0, 1000), "moves": Kept(beat, 0, stamp)}))

    for stamp in range(7):
        look(stamp)
        clock.move(1.0)
    assert heard.silent_s("still") == 7.0 and heard.silent_s("moves") == 1.0
    assert "moves" in heard and "still" not in heard
    clock.move(600.0)
    look(6)
    assert heard.silent_s("still") == heard.silent_s("moves") == 0.0
    assert heard.silent_s("never") == 0.0


def test_one_that_left_on_purpose_is_not_called_dead() -> None:
    seen = NodeSeen(name="hv1", incarnation="a", daemon_state=STOP, left=True, sentence="it left on purpose")
    beat = Heartbeat(node="hv1", incarnation="a", beat=1)
    found = judged(seen, beat, silent_s=600.0, dead_after_s=5.0, claims=True)
    assert found.daemon_state is STOP and "shut down on purpose" in found.sentence


@pytest.mark.parametrize(
    ("state", "sentence", "words"),
    [
        (RUN, "takes guests", "node hv1 is heard: it is in state run"),
        (STOP, "its guard was stopped 9 s ago", "node hv1 is not lost: its guard was stopped 9 s ago"),
        (DEAD, "not heard for 9 s", ""),
        (DaemonState.FENCED, "given up", ""),
    ],
)
def test_a_person_vouches_for_who_is_lost(state: DaemonState, sentence: str, words: str) -> None:
    said = ""
    try:
        demand_lost(NodeSeen(name="hv1", daemon_state=state, sentence=sentence))
    except Refused as error:
        said = error.message
    assert said == words


def test_who_vouches_is_told_what_comes_first() -> None:
    word = Vouch(node="hv1", incarnation="a", by="me", words="it is off")
    verdict = Verdict(node="hv1", incarnation="a", by="hv2", term=1, why="silent", coordinators=("hv2",))
    maintenance = {"cluster": Kept(Settings(maintenance=True), 0)}
    assert awaited(ClusterView(), word) == "It counts as soon as node hv1 is given up"
    assert "there is maintenance" in awaited(ClusterView(settings=maintenance), word)
    given_up = {life_id("hv1", "a"): Kept(verdict, 0)}
    assert awaited(ClusterView(settings=maintenance, verdicts=given_up), word) == ""


@pytest.mark.parametrize(("state", "health"), [(RUN, 90), (STOP, 90), (DEAD, 0), (DaemonState.FENCED, 0)])
def test_what_a_lost_node_said_of_its_health_before_says_nothing_now(state: DaemonState, health: int) -> None:
    seen = NodeSeen(name="hv1", daemon_state=state, health=(HealthSeen(plugin="disk", delta=10, message="worn"),))
    picture = NodePicture(
        wanted=None, seen=seen, heartbeat=None, stats=None, load=NodeLoad(),
        coordinator_state=CoordinatorState.CLIENT, running=(),
    )  # fmt: skip
    assert picture.health == health
