"""200 seeds of one node: define, start, stop, restart, clone, remove, while daemons die, guests crash and sessions
are lost.
"""

from __future__ import annotations

import pytest

from pvc_core.errors import Retry
from pvc_core.services import Services
from pvc_core.testing.sim import NODE, POOL, Sim, definition
from pvc_core.testing.storage import Crashed
from pvc_core.units import MIB

NAMES = ("a", "b", "c")


@pytest.mark.parametrize("seed", range(200))
def test_every_promise_is_kept(seed: int) -> None:
    sim = Sim(seed)
    sim.settle(5)
    assert sim.ask(lambda pvc: pvc.storage.add_pool(POOL, by="test", driver="fake")) == ""
    for name in NAMES[:2]:
        sim.ask(lambda pvc, name=name: pvc.storage.add_volume(POOL, f"root-{name}", 10 * MIB, by="test"))
        sim.ask(lambda pvc, name=name: pvc.vms.define(definition(name, f"{POOL}/root-{name}"), by="test"))
    for _ in range(70):
        _something(sim)
        sim.run(sim.random.randrange(30))
        if sim.random.random() < 0.5:
            _mend(sim)
    _calm(sim)
    sim.check_at_rest()


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


def _something(sim: Sim) -> None:
    """What an operator asks, or what goes wrong."""
    if sim.random.random() < 0.7:
        sim.ask(lambda pvc: _request(sim, pvc, sim.random.choice(NAMES)))
    else:
        _fault(sim)


def _request(sim: Sim, pvc: Services, name: str) -> None:
    volume = f"root-{name}"
    match sim.random.choice((0, 1, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 9, 10, 11, 12, 13, 13)):
        case 0:
            pvc.storage.add_volume(POOL, volume, 10 * MIB, by="test")
        case 1 | 2:
            refs = [f"{POOL}/{volume}"] if sim.random.random() < 0.8 else []
            extra = sim.random.choice(("", "", '<x deaf="yes"/>', '<boot fails="no such machine type"/>'))
            pvc.vms.define(definition(name, *refs, extra=extra), by="test")
        case 3 | 4 | 5 | 6:
            pvc.vms.start(name, by="test")
        case 7:
            pvc.vms.stop(name, by="test")
        case 8:
            pvc.vms.shutdown(name, by="test")
        case 9:
            pvc.vms.restart(name, by="test")
        case 10:
            pvc.vms.disable(name, by="test")
        case 11:
            pvc.vms.remove(name, by="test", delete_disks=sim.random.random() < 0.5)
        case 12:
            pvc.storage.clone_volume(POOL, volume, f"root-{sim.random.choice(NAMES)}", by="test")
        case 13:
            work = sim.random.choice((
                lambda: pvc.storage.resize_volume(POOL, volume, 20 * MIB, by="test"),
                lambda: pvc.storage.add_snapshot(POOL, volume, "s1", by="test"),
                lambda: pvc.storage.rollback_snapshot(POOL, volume, "s1", by="test"),
                lambda: pvc.storage.remove_snapshot(POOL, volume, "s1", by="test"),
                lambda: pvc.storage.remove_volume(POOL, volume, by="test"),
            ))  # fmt: skip
            work()


def _fault(sim: Sim) -> None:
    host, node_store = sim.world.host(NODE), sim.brain.store
    match sim.random.randrange(11):
        case 0 | 1:
            sim.restart_daemon()
        case 2:
            if host.guests:
                sim.world.end(NODE, sim.random.choice(sorted(host.guests)), sim.random.choice(("crashed", "shutdown")))
        case 3:
            node_store.expire()
        case 4:
            node_store.cut()
        case 5:
            node_store.mend()
        case 6:
            node_store.lose_next_answer()
        case 7:
            node_store.refuse_next_write()
        case 8:
            wrong = sim.random.choice((Retry("the hypervisor is busy", again_in_s=1.0), Crashed()))
            sim.random.choice((host.faults.before, host.faults.after)).append(wrong)
        case 9:
            sim.disks.faults.crash_at = sim.random.randrange(1, 6)
        case 10:
            host.away = not host.away


def _mend(sim: Sim) -> None:
    """What was cut off is reached again."""
    sim.brain.store.mend()
    sim.world.host(NODE).away = False


def _calm(sim: Sim) -> None:
    """The faults stop."""
    _mend(sim)
    host = sim.world.host(NODE)
    host.faults.before.clear()
    host.faults.after.clear()
    sim.disks.faults.crash_at = None
