"""Who is given up and who is not: one coordinator's ticks, second by second, without a store."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pvc_core.model.node import Heartbeat
from pvc_core.model.view import Kept
from pvc_core.policy.suspicion import Asked, Look, Memory, Patience, Suspect, heard, looked, suspects, to_ask

NODES = ("hv1", "hv2", "hv3")


@dataclass
class Coordinator:
    """hv1 looks; nodes in `silent` send no heartbeat, those in `answering` are met directly."""

    now_s: float = 1000.0
    names: tuple[str, ...] = NODES
    silent: set[str] = field(default_factory=set)
    answering: set[str] = field(default_factory=set)
    answered: bool = True
    maintenance: bool = False
    off: frozenset[str] = frozenset()
    serving: frozenset[str] | None = None
    memory: Memory = field(default_factory=Memory)
    beats: dict[str, Kept[Heartbeat]] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    patience: Patience = field(default_factory=Patience)
    stamp: int = 0

    def __post_init__(self) -> None:
        for name in self.names:
            self._beat(name)

    def tick(self, seconds: float = 0.5) -> tuple[Suspect, ...]:
        self.now_s += seconds
        for name in self.names:
            if name not in self.silent:
                self._beat(name)
        look = self.look()
        for name in to_ask(self.memory, look, self.patience):
            old = self.asked.get(name, Asked())
            there = name in self.answering
            self.asked[name] = Asked(answered_s=self.now_s) if there else replace(old, unanswered=old.unanswered + 1)
        look = self.look()
        self.memory = looked(self.memory, look, self.patience)
        return suspects(self.memory, look, self.patience)

    def run(self, seconds: float) -> tuple[Suspect, ...]:
        found: tuple[Suspect, ...] = ()
        for _ in range(round(seconds / 0.5)):
            found = self.tick()
        return found

    def look(self) -> Look:
        return Look(
            node="hv1", now_s=self.now_s, answered=self.answered, beats=dict(self.beats), asked=dict(self.asked),
            maintenance=self.maintenance, off=self.off, coordinators=NODES, serving=self.serving,
        )  # fmt: skip

    def condemn(self, name: str) -> None:
        self.stamp += 1
        old = self.beats[name]
        self.beats[name] = Kept(replace(old.value, condemned=True), old.version + 1, self.stamp)

    def _beat(self, name: str) -> None:
        old = self.beats.get(name)
        self.stamp += 1
        beat = Heartbeat(node=name, incarnation="boot-1", beat=old.value.beat + 1 if old else 1)
        self.beats[name] = Kept(beat, old.version + 1 if old else 0, self.stamp)


def condemnable(found: tuple[Suspect, ...]) -> list[str]:
    return [one.node for one in found if not one.hindrance]


def test_a_silent_node_that_answers_nobody_is_given_up_after_five_seconds() -> None:
    one = Coordinator()
    one.run(10)
    one.silent.add("hv2")
    assert condemnable(one.run(4.5)) == []
    found = one.run(1.0)
    assert condemnable(found) == ["hv2"]
    assert "answers on no network" in found[0].why and found[0].version == one.beats["hv2"].version


def test_a13_a_guard_that_was_stopped_in_order_has_the_time_it_asked_for() -> None:
    """An upgrade on a loaded machine takes longer than a node may be silent; one that is off already need not wait."""
    one = Coordinator()
    one.run(10)
    last = one.beats["hv2"]
    one.stamp += 1
    one.beats["hv2"] = Kept(replace(last.value, back_in_s=120.0), last.version + 1, one.stamp)
    one.silent.add("hv2")
    found = one.run(100)
    assert condemnable(found) == [] and found[0].if_off
    assert found[0].hindrance == "its guard was stopped in order and means to be back within 120 s"
    assert condemnable(one.run(22)) == ["hv2"]
    one.silent.clear()
    assert one.run(30) == ()
    one.silent.add("hv2")
    assert condemnable(one.run(6)) == ["hv2"], "what was promised once does not count for the next silence"


def test_nobody_is_suspect_while_all_are_heard() -> None:
    one = Coordinator()
    assert one.run(60) == ()
    assert all(heard(one.memory, one.look(), name) for name in NODES)


def test_a_direct_answer_saves_until_the_node_is_sick() -> None:
    one = Coordinator()
    one.run(10)
    one.silent.add("hv2")
    one.answering.add("hv2")
    assert one.run(29) == ()
    found = one.run(2)
    assert condemnable(found) == ["hv2"] and "cannot reach the store" in found[0].why


def test_b29_nobody_is_given_up_before_he_was_asked_three_times() -> None:
    one = Coordinator()
    one.run(10)
    one.silent.add("hv2")
    one.run(5)
    one.asked["hv2"] = Asked(unanswered=2)
    look = one.look()
    assert [suspect.hindrance for suspect in suspects(one.memory, look)] == ["it is being asked directly"]


def test_a8_a_store_outage_begins_all_clocks_anew() -> None:
    one = Coordinator()
    one.run(10)
    one.answered, one.silent = False, {"hv2", "hv3"}
    one.run(30)
    one.answered, one.silent = True, {"hv2"}
    assert one.run(4.5) == ()
    assert condemnable(one.run(1.5)) == ["hv2"]


def test_b4_a_judge_that_slept_begins_all_clocks_anew() -> None:
    one = Coordinator()
    one.run(10)
    one.silent = {"hv2"}
    one.run(1)
    assert one.tick(20.0) == ()
    assert one.run(4.0) == ()
    assert condemnable(one.run(2)) == ["hv2"]


def test_b16_the_end_of_maintenance_begins_all_clocks_anew() -> None:
    one = Coordinator(maintenance=True)
    one.run(10)
    one.silent = {"hv2"}
    assert one.run(600) == ()
    one.maintenance = False
    assert one.run(4.5) == ()
    assert condemnable(one.run(2)) == ["hv2"]


def test_a7_nobody_is_given_up_while_fewer_than_half_are_heard() -> None:
    one = Coordinator(names=("hv1", "hv2", "hv3", "hv4", "hv5"))
    one.run(10)
    one.silent = {"hv2", "hv3", "hv4"}
    found = one.run(20)
    assert condemnable(found) == [] and "2 of 5 nodes are heard" in found[0].hindrance
    one.silent = {"hv2", "hv3"}
    assert condemnable(one.run(1)) == ["hv2", "hv3"]


def test_b13_a_node_not_heard_since_the_quorum_formed_has_the_boot_grace() -> None:
    one = Coordinator(silent={"hv2", "hv3"})
    one.silent = {"hv2"}
    found = one.run(299)
    assert [(suspect.node, suspect.if_off) for suspect in found if suspect.hindrance] == [("hv2", True)]
    assert condemnable(one.run(3)) == ["hv2"]


def test_b13_a_long_outage_of_the_store_is_a_new_quorum() -> None:
    one = Coordinator()
    one.run(10)
    one.answered, one.silent = False, {"hv2"}
    one.run(61)
    one.answered = True
    assert condemnable(one.run(290)) == []


def test_a17_the_ensemble_keeps_its_majority() -> None:
    one = Coordinator(serving=frozenset({"hv1", "hv2"}))
    one.run(10)
    one.silent = {"hv2"}
    found = one.run(20)
    assert condemnable(found) == [] and "would lose its majority" in found[0].hindrance
    one.serving = frozenset({"hv1", "hv3"})
    assert condemnable(one.run(1)) == ["hv2"]


def test_a_node_that_left_on_purpose_is_no_suspect() -> None:
    one = Coordinator(off=frozenset({"hv2"}))
    one.run(10)
    one.silent = {"hv2"}
    assert one.run(600) == ()


def test_the_judge_does_not_condemn_itself() -> None:
    one = Coordinator()
    one.run(10)
    one.silent = {"hv1"}
    assert [suspect.hindrance for suspect in one.run(20)] == ["it is the judge itself"]


def test_the_judges_mark_is_no_heartbeat() -> None:
    """o_k stays the moment at which the last true heartbeat was seen; one never seen counts from the mark."""
    one = Coordinator()
    one.run(10)
    seen_s = one.memory.nodes["hv2"].seen_s
    one.silent = {"hv2"}
    one.run(6)
    one.condemn("hv2")
    assert one.run(1) == ()
    assert one.memory.nodes["hv2"].seen_s == seen_s
    other = Coordinator()
    other.run(10)
    other._beat("hv2")
    other.silent = {"hv2"}
    other.condemn("hv2")
    other.tick()
    assert other.memory.nodes["hv2"].seen_s == other.now_s
