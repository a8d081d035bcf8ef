"""The rules of the primary's lease, one by one, on a fake store and clocks that only the test moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.cluster import layout
from pvc_core.cluster.leadership import RENEW_S
from pvc_core.cluster.lease import CALL_S, HOLD_S, LATE_S, RETURN_S, TAKEOVER_S
from pvc_core.cluster.repository import Add
from pvc_core.errors import Conflict
from pvc_core.model.cluster import Leader, NameIndex
from pvc_core.model.node import DaemonState
from tests.cluster.leadership_rig import Rig


@pytest.fixture
def rig() -> Rig:
    """hv1 is primary, term 1."""
    rig = Rig()
    rig.run(1.0)
    assert rig.acting() == rig.holding() == ["hv1"]
    return rig


def test_the_intervals_keep_their_inequalities() -> None:
    assert HOLD_S * 1.001 + 0.5 + 1.0 <= TAKEOVER_S
    assert HOLD_S >= 2 * RENEW_S + CALL_S
    assert LATE_S < RETURN_S < TAKEOVER_S


def test_a_new_cluster_has_a_primary_at_once_and_keeps_it(rig: Rig) -> None:
    assert rig.leader() == Leader(node="hv1", incarnation="boot-1", term=1)
    rig.run(60.0)
    assert rig.acting() == ["hv1"]
    assert rig.leader().term == 1


def test_renewals_do_not_touch_the_record_that_everybody_watches(rig: Rig) -> None:
    before, beat = rig.repository.get(layout.LEADER, layout.ONLY).version, rig.lease().beat
    rig.run(10.0)
    assert rig.repository.get(layout.LEADER, layout.ONLY).version == before
    assert rig.lease().beat > beat


def test_a_dead_primary_is_replaced_after_e_with_the_next_term(rig: Rig) -> None:
    rig.nodes["hv1"].end()
    rig.run(TAKEOVER_S - 0.5, "hv2", "hv3")
    assert rig.leader().node == "hv1"
    rig.run(1.0, "hv2", "hv3")
    assert rig.leader() == Leader(node="hv2", incarnation="boot-1", term=2)
    assert rig.acting() == ["hv2"]


def test_a_slept_primary_acts_no_more_and_its_write_fails(rig: Rig) -> None:
    old = rig.nodes["hv1"].leadership
    condition = old.condition()
    rig.run(HOLD_S + 0.1, "hv2", "hv3")
    assert not old.acts()
    with pytest.raises(Conflict):
        old.condition()
    rig.run(TAKEOVER_S, "hv2", "hv3")
    with pytest.raises(Conflict):
        rig.repository.commit([Add(layout.VM_NAMES, "late", NameIndex(uuid="u")), condition])
    assert rig.repository.find(layout.VM_NAMES, "late") is None
    rig.run(1.0)
    assert rig.acting() == rig.holding() == ["hv2"]


def test_a_leaders_write_of_the_present_term_is_made(rig: Rig) -> None:
    condition = rig.nodes["hv1"].leadership.condition()
    rig.run(5.0)
    rig.repository.commit([Add(layout.VM_NAMES, "now", NameIndex(uuid="u")), condition])


def test_a_node_that_is_not_primary_has_nothing_to_write_with(rig: Rig) -> None:
    with pytest.raises(Conflict, match="hv2 is not primary"):
        rig.nodes["hv2"].leadership.condition()


def test_the_lease_counts_from_the_sending_not_from_the_answer(rig: Rig) -> None:
    node = rig.nodes["hv1"]
    node.store.delay_next_call(CALL_S - 0.1)
    node.leadership.tick()
    assert node.leadership.left_s() == pytest.approx(HOLD_S - CALL_S + 0.1)


def test_a_renewal_sent_before_a_sleep_and_arriving_after_it_changes_nothing(rig: Rig) -> None:
    rig.nodes["hv1"].before_next_write(lambda: rig.run(TAKEOVER_S + 1.0, "hv2", "hv3"))
    rig.nodes["hv1"].leadership.tick()
    assert rig.acting() == ["hv2"]
    assert rig.lease().node == "hv2"


def test_of_two_that_take_over_at_once_one_succeeds(rig: Rig) -> None:
    rig.nodes["hv1"].end()
    rig.run(TAKEOVER_S - 0.25, "hv2", "hv3")
    rig.nodes["hv2"].before_next_write(rig.nodes["hv3"].leadership.tick)
    rig.run(0.75, "hv2")
    assert rig.acting() == ["hv3"]
    assert rig.leader() == Leader(node="hv3", incarnation="boot-1", term=2)


def test_a_renewal_whose_answer_was_lost_prolongs_nothing_and_costs_nothing(rig: Rig) -> None:
    node = rig.nodes["hv1"]
    left_s = node.leadership.left_s()
    node.store.lose_next_answer()
    node.leadership.tick()
    assert node.leadership.left_s() == left_s
    rig.run(2.0)
    assert rig.acting() == ["hv1"]
    assert rig.leader().term == 1


def test_without_the_store_it_stops_acting_at_h_and_says_so(rig: Rig) -> None:
    rig.nodes["hv1"].store.cut()
    rig.run(HOLD_S - 1.0, "hv1")
    assert rig.acting() == ["hv1"]
    rig.run(1.5, "hv1")
    assert rig.acting() == rig.holding() == []
    assert any("acts as primary no more" in line for line in rig.nodes["hv1"].log.lines)


def test_an_outage_of_the_store_moves_nothing(rig: Rig) -> None:
    rig.server.cut()
    rig.run(600.0)
    assert rig.acting() == rig.holding() == []
    rig.server.mend()
    rig.run(1.0)
    assert rig.acting() == rig.holding() == ["hv1"]
    assert rig.leader().term == 1


def test_whoever_slept_lets_the_holder_be_heard_first(rig: Rig) -> None:
    rig.nodes["hv1"].end()
    rig.run(3.0, "hv2")
    rig.true.move(LATE_S + 60.0)
    rig.run(RETURN_S - 0.5, "hv2")
    assert rig.leader().node == "hv1"
    rig.run(1.0, "hv2")
    assert rig.leader().node == "hv2"


def test_a_primary_that_died_with_the_store_is_replaced_soon_after_it_is_back(rig: Rig) -> None:
    """The lease stood still all the time: E passes during the outage, and the holder had time to come back."""
    rig.nodes["hv1"].end()
    rig.server.cut()
    rig.run(5.0, "hv2", "hv3")
    rig.server.mend()
    rig.run(RETURN_S - 0.5, "hv2", "hv3")
    assert rig.leader().node == "hv1"
    rig.run(1.0, "hv2", "hv3")
    assert rig.acting() == ["hv2"]


def test_after_a_short_outage_e_still_counts(rig: Rig) -> None:
    rig.run(0.5)
    rig.nodes["hv1"].end()
    rig.server.cut()
    rig.run(1.0, "hv2", "hv3")
    rig.server.mend()
    rig.run(TAKEOVER_S - 2.0, "hv2", "hv3")
    assert rig.leader().node == "hv1"
    rig.run(1.5, "hv2", "hv3")
    assert rig.acting() == ["hv2"]


def test_a_primary_that_is_back_with_the_store_later_than_others_keeps_the_role(rig: Rig) -> None:
    rig.server.cut()
    rig.run(60.0)
    rig.server.mend()
    rig.run(RETURN_S - 0.5, "hv2", "hv3")
    rig.run(1.0)
    assert (rig.acting(), rig.leader().term) == (["hv1"], 1)


def test_the_same_stamp_in_a_store_that_was_begun_anew_is_another_lease(rig: Rig) -> None:
    leadership = rig.nodes["hv2"].leadership
    rig.nodes["hv1"].end()
    rig.run(3.0, "hv2")
    lease = rig.nodes["hv2"].leadership._records.lease()
    assert lease is not None
    rig.true.move(60.0)
    other = replace(lease, value=replace(lease.value, incarnation="boot-2"))
    assert leadership._silence_of(other).since_s == rig.nodes["hv2"].clock.boottime_s()


def test_a_restarted_daemon_goes_on_with_a_new_term(rig: Rig) -> None:
    rig.nodes["hv1"].end()
    rig.true.move(1.0)
    rig.nodes["hv1"].begin()
    rig.nodes["hv1"].leadership.tick()
    assert rig.acting() == ["hv1"]
    assert rig.leader().term == 2


def test_the_role_moves_on_request(rig: Rig) -> None:
    rig.ask("hv3")
    rig.nodes["hv1"].leadership.tick()
    assert rig.acting() == rig.holding() == []
    assert rig.leader() == Leader(node="hv3", incarnation="boot-1", term=2, asked=1)
    rig.nodes["hv3"].leadership.tick()
    assert rig.acting() == rig.holding() == ["hv3"]
    assert rig.leader().term == 2


def test_a_request_is_met_once(rig: Rig) -> None:
    rig.ask("hv3")
    rig.run(2.0)
    rig.nodes["hv3"].end()
    rig.run(TAKEOVER_S + 1.0, "hv1", "hv2")
    taker = rig.leader().node
    rig.nodes["hv3"].begin()
    rig.run(5.0)
    assert rig.acting() == [taker] != ["hv3"]


def test_a_request_outlives_the_primary_that_should_have_met_it(rig: Rig) -> None:
    rig.nodes["hv1"].end()
    rig.ask("hv3")
    rig.run(TAKEOVER_S + 2.0, "hv2", "hv3")
    assert rig.acting() == ["hv3"]


def test_a_node_whose_daemon_does_not_run_is_not_made_primary(rig: Rig) -> None:
    kept = rig.repository.get(layout.NODE_SEEN, "hv2")
    rig.repository.set(
        layout.NODE_SEEN,
        "hv2",
        type(kept.value)(name="hv2", daemon_state=DaemonState.STOP),
        if_version=kept.version,
    )
    rig.ask("hv2")
    rig.run(2.0)
    assert rig.acting() == ["hv1"]
    assert rig.leader().asked == 1
    assert any("hv2 cannot be primary" in line for line in rig.nodes["hv1"].log.lines)


def test_what_cannot_be_let_go_is_not_handed_on(rig: Rig) -> None:
    rig.nodes["hv1"].lower_fails = True
    rig.ask("hv2")
    rig.run(3.0)
    assert rig.acting() == rig.holding() == ["hv1"]
    assert rig.leader().term == 1
    assert any("stays primary: the address cannot be removed" in line for line in rig.nodes["hv1"].log.lines)


@pytest.mark.parametrize("fault", ["lose_next_answer", "refuse_next_write"])
def test_a_hand_over_of_unknown_outcome_ends_with_one_primary(rig: Rig, fault: str) -> None:
    rig.ask("hv2")
    getattr(rig.nodes["hv1"].store, fault)()
    rig.run(3.0)
    assert rig.acting() == rig.holding() == ["hv2"]


def test_a_daemon_that_ends_hands_the_role_on(rig: Rig) -> None:
    rig.nodes["hv1"].leadership.resign()
    rig.nodes["hv1"].end()
    rig.nodes["hv2"].leadership.tick()
    assert rig.acting() == ["hv2"]
    assert rig.leader().term == 2


def test_the_role_is_not_handed_to_a_node_that_is_not_heard(rig: Rig) -> None:
    rig.nodes["hv2"].end()
    rig.run(3.5, "hv1", "hv3")
    rig.ask("hv2")
    rig.run(1.0, "hv1", "hv3")
    assert rig.acting() == ["hv1"]
    rig.nodes["hv1"].leadership.resign()
    assert rig.leader().node == "hv3"


def test_handed_to_a_node_that_just_died_it_comes_back_after_e(rig: Rig) -> None:
    rig.ask("hv2")
    rig.nodes["hv2"].end()
    rig.run(TAKEOVER_S + 2.0, "hv1", "hv3")
    assert len(rig.acting()) == 1
    assert rig.leader().term == 3


def test_a_cluster_that_grew_waits_for_its_only_primary_of_before() -> None:
    rig = Rig()
    rig.repository.add(layout.LEADER, layout.ONLY, Leader(node="hv1", incarnation="boot-1", term=7))
    rig.run(TAKEOVER_S - 1.0, "hv2", "hv3")
    assert rig.acting() == []
    rig.nodes["hv1"].leadership.tick()
    assert rig.acting() == ["hv1"]
    assert rig.leader().term == 8
