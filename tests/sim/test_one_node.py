"""200 seeds of one node: everything operators ask for, while daemons die, nodes lose power, guests crash, hooks object,
sessions are lost and answers get lost.
"""

from __future__ import annotations

from functools import partial

import pytest

from pvc_core.model.storage import Volume, VolumePhase
from pvc_core.model.task import Task, TaskState
from pvc_core.services import Services
from pvc_core.testing.sim import NODE, POOL, Sim, definition
from pvc_core.testing.sim_story import live, two_starts
from pvc_core.units import MIB

FAST_SEEDS, SEEDS = 30, 200


@pytest.mark.parametrize(
    "seed", [seed if seed < FAST_SEEDS else pytest.param(seed, marks=pytest.mark.slow) for seed in range(SEEDS)]
)
def test_every_promise_is_kept(seed: int) -> None:
    live(seed)


def test_one_seed_is_one_run() -> None:
    first, second = live(7), live(7)
    assert first.log.lines == second.log.lines
    assert first.clock.boottime_s() == second.clock.boottime_s()


def test_the_plain_way_works_without_faults() -> None:
    sim = Sim(0)
    sim.settle(5)
    assert sim.ask(lambda pvc: pvc.storage.add_pool(POOL, by="test")) == ""
    sim.settle(5)  # until the node has told that it can use the pool
    assert sim.ask(lambda pvc: pvc.storage.add_volume(POOL, "root-a", 10 * MIB, by="test")) == ""
    assert sim.ask(lambda pvc: pvc.vms.define(definition("a", "vms/root-a"), by="test")) == ""
    assert sim.ask(lambda pvc: pvc.vms.start("a", by="test")) == ""
    sim.check_at_rest()
    vm = sim.services.vms.get("a")
    assert (vm.state, vm.node, vm.sentence) == ("start", NODE, f"running on {NODE}")
    assert sim.world.executing(vm.wanted.uuid) == [NODE]
    assert sim.ask(lambda pvc: pvc.vms.remove("a", by="test", delete_disks=True)) == ""
    sim.check_at_rest()
    assert sim.services.vms.list() == []
    assert sim.services.storage.volumes() == []


def test_a_start_that_is_refused_for_now_is_tried_by_the_clock_and_not_by_its_own_writes() -> None:
    sim = Sim(0)
    sim.settle(5)
    sim.ask(lambda pvc: pvc.storage.add_pool(POOL, by="test"))
    sim.ask(lambda pvc: pvc.vms.define(definition("a"), by="test"))
    sim.permits.refuses = True
    sim.ask(lambda pvc: pvc.vms.start("a", by="test"))
    sim.settle(2)
    uuid = sim.services.vms.get("a").wanted.uuid
    before = sim.brain.keeper.view.claims[uuid].value.generation
    sim.settle(60)
    assert sim.brain.keeper.view.claims[uuid].value.generation - before <= 31
    assert "the store has not heard this node" in sim.services.vms.get("a").sentence
    sim.permits.refuses = False
    sim.check_at_rest()
    assert sim.world.executing(uuid) == [NODE]


@pytest.mark.parametrize("seed", range(12))
def test_of_two_starts_that_want_one_volume_one_waits(seed: int) -> None:
    two_starts(seed)


def test_a_pool_goes_with_its_clones_of_clones_and_not_while_a_guest_has_anything_of_it() -> None:
    sim = Sim(0)
    sim.settle(5)
    sim.ask(lambda pvc: pvc.storage.add_pool(POOL, by="test"))
    sim.settle(5)
    assert sim.ask(lambda pvc: pvc.storage.add_volume(POOL, "a-first", 10 * MIB, by="test")) == ""
    for source, target in (("a-first", "b-second"), ("b-second", "c-third")):
        assert sim.ask(partial(clone, source, target)) == ""
    sim.ask(lambda pvc: pvc.vms.define(definition("guest"), by="test"))
    sim.ask(lambda pvc: pvc.vms.start("guest", by="test"))
    sim.settle(10)
    device = f'<disk dev="sdb" volume="{POOL}/c-third"/>'
    task = sim.request(lambda pvc: pvc.vms.attach_device("guest", device, by="test"))
    assert isinstance(task, Task)
    sim.settle(5)
    assert sim.services.tasks.get(task.id).state is TaskState.SUCCESS
    said = sim.ask(lambda pvc: pvc.storage.remove_pool(POOL, by="test"))
    assert f"volume {POOL}/c-third is used by VM guest" in said, "it was only plugged into the running guest"
    assert len(sim.services.storage.volumes()) == 3, "nothing was removed"
    sim.ask(lambda pvc: pvc.vms.stop("guest", by="test"))
    sim.settle(10)
    assert sim.ask(lambda pvc: pvc.storage.remove_pool(POOL, by="test")) == ""
    assert (sim.services.storage.pools(), sim.services.storage.volumes()) == ([], [])


def test_of_a_pool_that_holds_what_is_nobodys_nothing_is_removed() -> None:
    sim = Sim(0)
    sim.settle(5)
    sim.ask(lambda pvc: pvc.storage.add_pool(POOL, by="test"))
    sim.settle(5)
    sim.ask(lambda pvc: pvc.storage.add_volume(POOL, "mine", 10 * MIB, by="test"))
    pool = sim.services.storage.pool(POOL).pool
    driver = sim.disks.driver(NODE)
    stranger = Volume(pool=POOL, name="by-hand", size_bytes=10 * MIB, id="nobody-knows-it", phase=VolumePhase.CREATING)
    driver.create_volume(pool, stranger, deadline_s=5.0)
    said = sim.ask(lambda pvc: pvc.storage.remove_pool(POOL, by="test"))
    assert "cannot be removed" in said and "by-hand" in said
    assert [one.volume.name for one in sim.services.storage.volumes()] == ["mine"]
    driver.remove_volume(pool, stranger, deadline_s=5.0)
    sim.disks.strangers.append('image "old" in its trash')
    said = sim.ask(lambda pvc: pvc.storage.remove_pool(POOL, by="test"))
    assert "cannot be removed" in said and 'image "old" in its trash' in said
    assert [one.volume.name for one in sim.services.storage.volumes()] == ["mine"]
    sim.disks.strangers.clear()
    assert sim.ask(lambda pvc: pvc.storage.remove_pool(POOL, by="test")) == ""
    assert (sim.services.storage.pools(), sim.services.storage.volumes()) == ([], [])


def clone(source: str, target: str, pvc: Services) -> None:
    pvc.storage.clone_volume(POOL, source, target, by="test", thin=True)


def test_a_rollback_that_comes_while_the_guest_is_stopped_waits_for_its_end() -> None:
    sim = Sim(0)
    sim.settle(5)
    sim.ask(lambda pvc: pvc.storage.add_pool(POOL, by="test"))
    sim.settle(5)
    sim.ask(lambda pvc: pvc.storage.add_volume(POOL, "root", 10 * MIB, by="test"))
    sim.ask(lambda pvc: pvc.storage.add_snapshot(POOL, "root", "before", by="test"))
    sim.ask(lambda pvc: pvc.vms.define(definition("guest", f"{POOL}/root"), by="test"))
    sim.ask(lambda pvc: pvc.vms.start("guest", by="test"))
    sim.settle(10)
    said = sim.ask(lambda pvc: pvc.storage.rollback_snapshot(POOL, "root", "before", by="test"))
    assert "while VM guest runs" in said
    assert sim.ask(lambda pvc: pvc.vms.stop("guest", by="test")) == ""
    assert sim.world.executing(sim.services.vms.get("guest").wanted.uuid) == [NODE], "it is on its way"
    assert sim.ask(lambda pvc: pvc.storage.rollback_snapshot(POOL, "root", "before", by="test")) == ""
    assert sim.world.executing(sim.services.vms.get("guest").wanted.uuid) == []


def test_a_rollback_of_a_large_volume_has_the_time_it_takes() -> None:
    """Begun anew after a minute, it would never come to its end."""
    sim = Sim(0)
    sim.settle(5)
    sim.ask(lambda pvc: pvc.storage.add_pool(POOL, by="test"))
    sim.settle(5)
    sim.ask(lambda pvc: pvc.storage.add_volume(POOL, "root", 10 * MIB, by="test"))
    sim.ask(lambda pvc: pvc.storage.add_snapshot(POOL, "root", "before", by="test"))
    took: list[float] = []
    sim.disks.sleep = took.append
    sim.disks.faults.delays_s["rollback_snapshot"] = 5000.0
    assert sim.ask(lambda pvc: pvc.storage.rollback_snapshot(POOL, "root", "before", by="test")) == ""
    assert took == [5000.0]
