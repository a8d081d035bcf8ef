"""The schedules that run a guest twice, or lose it, where the hypervisor or a daemon's memory decides: named after the
safety notes (A1 and X4: the target's hypervisor hangs at the end; B24, B25: what is left of a copy).
"""

from __future__ import annotations

import pytest

from pvc_core.cluster import layout
from pvc_core.contracts.compute import Observation
from pvc_core.model.vm import GuestState, Phase
from pvc_core.testing.compute import FakeCompute
from pvc_core.testing.compute_moves import CONFIRM, COPY, FINISH, PREPARE, SWITCH, FakeMove
from pvc_core.testing.sim_nodes import Nodes, cluster

EVERY_STAGE = pytest.mark.parametrize("stage", [PREPARE, COPY, SWITCH, FINISH, CONFIRM])


def under_way(seed: int, stage: int) -> tuple[Nodes, FakeMove]:
    """A cluster in which guest "a" is on its way and its hypervisors have come to `stage`."""
    sim = cluster(seed, "a")
    (home,) = sim.where("a")
    uuid = sim.services.vms.get("a").wanted.uuid
    assert sim.ask(lambda pvc: pvc.vms.migrate("a", by="test")) == ""
    for _ in range(20_000):
        move = sim.world.moves.of(uuid, home)
        if move is not None and move.stage == stage:
            return sim, move
        sim.run(1)
    raise AssertionError(f"stage {stage} was never reached")


@pytest.mark.parametrize("daemon_dies", [False, True])
def test_x4_the_targets_hypervisor_hangs_before_it_finishes(daemon_dies: bool) -> None:
    """The source runs on by itself; what the target then does late is a paused copy, which nobody resumes."""
    sim, move = under_way(1, FINISH)
    sim.world.host(move.target).away = True
    sim.world.moves.advance()
    assert sim.where("a") == [move.source]
    assert sim.ask(lambda pvc: pvc.vms.move("a", by="test", node=move.source)) == "", "it is not moved again"
    if daemon_dies:
        sim.nodes[move.target].restart_daemon()
    sim.world.host(move.target).away = False
    assert move.uuid in sim.world.host(move.target).guests, "the copy that came late"
    sim.check_at_rest()
    assert sim.where("a") == [move.source] and sim.world.starts == 1


@EVERY_STAGE
def test_either_daemon_is_killed(stage: int) -> None:
    for side in ("source", "target"):
        sim, move = under_way(2, stage)
        starts = sim.world.starts
        sim.nodes[getattr(move, side)].restart_daemon()
        sim.check_at_rest()
        assert sim.where("a") == [move.target] and sim.world.starts == starts, f"{side}: its memory went with it"


@EVERY_STAGE
def test_either_node_loses_its_power(stage: int) -> None:
    for side in ("source", "target"):
        sim, move = under_way(3, stage)
        sim.nodes[getattr(move, side)].power_cycle()
        sim.check_at_rest()
        assert len(sim.where("a")) == 1


@EVERY_STAGE
def test_nothing_resumes_without_the_store(stage: int) -> None:
    """Both nodes lose it in the middle: the guest runs at the source or is paused, until they have it back."""
    sim, move = under_way(4, stage)
    for node in sim.nodes.values():
        node.store.cut()
    for _ in range(50):
        sim.world.moves.advance()
        sim.run(20)
        assert sim.where("a") in ([move.source], [])
    for node in sim.nodes.values():
        node.store.mend()
    sim.check_at_rest()
    assert sim.where("a") == [move.target]


@EVERY_STAGE
def test_the_network_between_them_breaks(stage: int) -> None:
    sim, move = under_way(5, stage)
    sim.world.moves.broken.add(move.target)
    sim.settle(3.0)
    sim.world.moves.broken.clear()
    sim.check_at_rest()
    assert sim.where("a") == [move.target], "it was tried again"


@EVERY_STAGE
def test_it_is_asked_to_stop_in_the_middle(stage: int) -> None:
    sim, _ = under_way(6, stage)
    assert sim.ask(lambda pvc: pvc.vms.stop("a", by="test")) == ""
    sim.check_at_rest()
    assert sim.where("a") == []


def test_b25_a_source_left_paused_is_resumed_by_a_write() -> None:
    """The source's hypervisor lost the migration and left its guest paused."""
    sim, move = under_way(7, SWITCH)
    sim.world.moves.advance()
    sim.world.moves.power_off(move.source)  # what it drove is over; its guest stays as it is
    guest = sim.world.host(move.source).guests[move.uuid]
    assert guest.paused
    sim.nodes[move.source].restart_daemon()
    before = sim.watcher.get(layout.CLAIMS, move.uuid).value.generation
    sim.settle(4.0)
    sim.check_at_rest()
    claim = sim.watcher.get(layout.CLAIMS, move.uuid).value
    assert claim.phase is Phase.RUN and claim.generation > before and sim.where("a") == [claim.holder]


def test_b24_no_permit_outlives_the_migration() -> None:
    sim, move = under_way(8, COPY)
    (home,) = sim.where("a")
    assert sim.ask(lambda pvc: pvc.vms.move("a", by="test", node=home)) == ""
    sim.check_at_rest()
    assert move.uuid not in sim.world.host(move.target).permits


def test_it_leaves_between_is_it_here_and_is_it_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds 8023 and 8480 of pvc-simulate: what was seen paused had left, and was taken for a migration that failed."""
    sim, move = under_way(9, SWITCH)
    starts, observe, advance = sim.world.starts, FakeCompute.observe, sim.world.moves.advance
    while not sim.world.host(move.source).guests[move.uuid].paused:
        advance()

    def seen_and_gone(self: FakeCompute, uuid: str, *, deadline_s: float) -> Observation:
        seen = observe(self, uuid, deadline_s=deadline_s)
        while seen.guest is GuestState.PAUSED and sim.world.moves.of(move.uuid, move.source) is not None:
            advance()
        return seen

    monkeypatch.setattr(FakeCompute, "observe", seen_and_gone)
    monkeypatch.setattr(sim.world.moves, "advance", lambda: None)  # it waits until it has been looked at
    sim.run(5_000)
    assert sim.world.moves.of(move.uuid, move.source) is None, "nobody looked"
    monkeypatch.undo()
    sim.check_at_rest()
    assert sim.where("a") == [move.target] and sim.world.starts == starts, "its memory went with it"


def test_a_copy_that_came_late_is_not_taken_for_the_guest() -> None:
    """By now the VM lives where the copy is; what the copy remembers is older than what the disks have."""
    sim, move = under_way(10, FINISH)
    target = sim.world.host(move.target)
    target.away = True
    sim.world.moves.advance()
    assert sim.where("a") == [move.source] and move.uuid in target.guests
    starts = sim.world.starts
    assert sim.ask(lambda pvc: pvc.vms.stop("a", by="test")) == ""
    sim.settle(30.0)
    assert sim.where("a") == []
    assert sim.ask(lambda pvc: pvc.vms.move("a", by="test", node=move.target)) == ""
    sim.settle(30.0)
    assert sim.ask(lambda pvc: pvc.vms.start("a", by="test")) == ""
    target.away = False
    sim.check_at_rest()
    assert sim.where("a") == [move.target] and sim.world.starts == starts + 1
