"""200 seeds of one node: everything operators ask for, while daemons die, nodes lose power, guests crash, hooks object,
sessions are lost and answers get lost.
"""

from __future__ import annotations

import pytest

from pvc_core.testing.sim import NODE, POOL, Sim, definition
from pvc_core.testing.sim_story import live
from pvc_core.units import MIB


@pytest.mark.parametrize("seed", range(200))
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
