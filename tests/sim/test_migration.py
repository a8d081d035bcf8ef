"""Guests that move between simulated nodes while daemons die, guests crash, stores are cut off and hypervisors hang:
never one that executes twice, none that is lost without a word, no copy left over.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.cluster import layout
from pvc_core.errors import Retry
from pvc_core.model.node import DaemonState
from pvc_core.model.vm import MigrationMethod
from pvc_core.services import Services
from pvc_core.services.vms import VmMeta
from pvc_core.testing.sim_nodes import Nodes, cluster
from pvc_core.testing.storage import Crashed

NAMES = ("a", "b", "c")


def test_a_running_guest_moves_and_comes_back() -> None:
    sim = cluster(0, "a")
    (home,) = sim.where("a")
    other = next(name for name in sim.names if name != home)
    starts = sim.world.starts
    assert sim.ask(lambda pvc: pvc.vms.migrate("a", by="test", node=other, wait=True)) == ""
    vm = sim.services.vms.get("a")
    assert sim.where("a") == [other] == [vm.node] and vm.last_node == home
    sim.check_at_rest()
    assert sim.services.vms.get("a").sentence == f"running on {other}"
    assert "migrated already" in sim.ask(lambda pvc: pvc.vms.migrate("a", by="test"))
    assert sim.ask(lambda pvc: pvc.vms.unmigrate("a", by="test", wait=True)) == ""
    sim.check_at_rest()
    assert sim.where("a") == [home] and sim.services.vms.get("a").last_node == ""
    assert sim.world.starts == starts, "it was moved, not started again"


def test_a_move_to_where_it_is_makes_a_migration_permanent() -> None:
    sim = cluster(1, "a")
    assert sim.ask(lambda pvc: pvc.vms.migrate("a", by="test", wait=True)) == ""
    here = sim.services.vms.get("a").node
    assert sim.ask(lambda pvc: pvc.vms.move("a", by="test", node=here)) == ""
    assert sim.services.vms.get("a").last_node == ""
    assert "not migrated" in sim.ask(lambda pvc: pvc.vms.unmigrate("a", by="test"))
    assert "already" in sim.ask(lambda pvc: pvc.vms.move("a", by="test", node=here))


def test_one_that_is_off_moves_by_a_write() -> None:
    sim = cluster(2)
    sim.define("a")
    sim.settle(10)
    home = sim.services.vms.get("a").node
    other = next(name for name in sim.names if name != home)
    assert sim.ask(lambda pvc: pvc.vms.move("a", by="test", node=other, wait=True)) == ""
    sim.check_at_rest()
    assert sim.services.vms.get("a").node == other and sim.world.starts == 0


def test_shut_down_moved_and_started_when_that_is_its_method() -> None:
    sim = cluster(3, "a")
    sim.ask(lambda pvc: pvc.vms.set_meta("a", VmMeta(migration_method=MigrationMethod.SHUTDOWN), by="test"))
    (home,) = sim.where("a")
    assert sim.ask(lambda pvc: pvc.vms.move("a", by="test", wait=True)) == ""
    sim.check_at_rest()
    assert sim.where("a") != [home] and sim.world.starts == 2


@pytest.mark.parametrize("live_only", [True, False])
def test_a_cpu_that_the_target_has_not(live_only: bool) -> None:
    """Only live: it stays, with the reason in words. Otherwise it is shut down for it."""
    sim = cluster(4, count=2)
    sim.define("a", extra='<cpu foreign="hv2"/>')
    sim.settle(10)
    sim.ask(lambda pvc: pvc.vms.move("a", by="test", node="hv1"))
    sim.ask(lambda pvc: pvc.vms.start("a", by="test"))
    sim.settle(20)
    assert sim.where("a") == ["hv1"]
    said = sim.ask(lambda pvc: pvc.vms.move("a", by="test", node="hv2", live_only=live_only, wait=True))
    sim.check_at_rest()
    if live_only:
        assert "its CPU is not one that hv2 has" in said and sim.where("a") == ["hv1"] and sim.world.starts == 1
    else:
        assert sim.where("a") == ["hv2"] and sim.world.starts == 2


@pytest.mark.parametrize("live_only", [True, False])
def test_one_that_writes_its_memory_too_fast_does_not_move_for_ever(live_only: bool) -> None:
    """It is given up in words, and shut down for it where that is allowed."""
    sim = cluster(9, "a")
    (home,) = sim.where("a")
    other = next(name for name in sim.names if name != home)
    sim.world.moves.endless.add(sim.services.vms.get("a").wanted.uuid)
    said = sim.ask(lambda pvc: pvc.vms.move("a", by="test", node=other, live_only=live_only))
    assert said == ""
    sim.check_at_rest()
    seen = sim.services.vms.get("a").seen
    assert seen is not None
    if live_only:
        assert sim.where("a") == [home] and sim.world.starts == 1
        assert "writes its memory faster than the network carries it" in seen.move_reason
    else:
        assert sim.where("a") == [other] and sim.world.starts == 2


def test_a_request_is_called_off_by_another() -> None:
    sim = cluster(5, "a")
    (home,) = sim.where("a")
    uuid = sim.services.vms.get("a").wanted.uuid
    assert sim.ask(lambda pvc: pvc.vms.migrate("a", by="test")) == ""
    for _ in range(2000):
        sim.step()
        if sim.world.moves.of(uuid, home):
            break
    assert sim.ask(lambda pvc: pvc.vms.move("a", by="test", node=home)) == ""
    sim.check_at_rest()
    vm = sim.services.vms.get("a")
    assert sim.where("a") == [home] and vm.state == "start" and vm.last_node == ""


def test_a_volume_on_one_node_only_is_named() -> None:
    sim = cluster(6, count=2)
    assert sim.ask(lambda pvc: pvc.storage.add_pool("local", by="test", driver="fake")) == ""
    sim.settle(10)
    assert sim.ask(lambda pvc: pvc.storage.add_volume("local", "disk", 1 << 20, by="test")) == ""
    text = '<domain><name>a</name><memory>64</memory><vcpu>1</vcpu><disk dev="vda" volume="local/disk"/></domain>'
    assert sim.ask(lambda pvc: pvc.vms.define(text, by="test")) == ""
    sim.settle(10)
    said = sim.ask(lambda pvc: pvc.vms.move("a", by="test"))
    home = sim.services.vms.get("a").node
    assert f"its volume local/disk is on {home} only, pool local is not shared" in said


def test_twenty_at_once_do_not_choose_one_node() -> None:
    names = [f"vm{number}" for number in range(20)]
    sim = cluster(7)
    for name in names:
        sim.define(name)
        sim.ask(lambda pvc, name=name: pvc.vms.move(name, by="test", node="hv1"))
        sim.settle(5)
        sim.ask(lambda pvc, name=name: pvc.vms.move(name, by="test", node="hv1"))
        sim.ask(lambda pvc, name=name: pvc.vms.start(name, by="test"))
    sim.settle(60)
    assert all(sim.where(name) == ["hv1"] for name in names)
    for name in names:
        assert sim.ask(lambda pvc, name=name: pvc.vms.move(name, by="test")) == ""
    sim.check_at_rest()
    found = [sim.where(name)[0] for name in names]
    assert sorted(found.count(name) for name in ("hv2", "hv3")) == [10, 10]


def test_the_primary_moves_one_that_is_off_from_a_node_that_is_dead() -> None:
    sim = cluster(8)
    sim.define("a")
    sim.settle(10)
    assert sim.ask(lambda pvc: pvc.vms.move("a", by="test", node="hv3")) in ("", "VM a lives on hv3 already")
    sim.settle(10)
    sim.nodes.pop("hv3").stage.die()
    kept = sim.watcher.get(layout.NODE_SEEN, "hv3")
    sim.watcher.set(
        layout.NODE_SEEN, "hv3", replace(kept.value, daemon_state=DaemonState.DEAD), if_version=kept.version
    )
    sim.settle(5)
    assert sim.ask(lambda pvc: pvc.vms.move("a", by="test", node="hv2")) == ""
    sim.settle(30)
    assert sim.services.vms.get("a").node == "hv2" and sim.services.vms.get("a").state == "stop"


FAST_SEEDS, SEEDS = 6, 40
"""A seed takes seconds: most of them wait for the long run, thousands for script/soak."""


@pytest.mark.parametrize(
    "seed", [seed if seed < FAST_SEEDS else pytest.param(seed, marks=pytest.mark.slow) for seed in range(SEEDS)]
)
def test_every_promise_is_kept(seed: int) -> None:
    sim = cluster(seed, *NAMES)
    for _ in range(30):
        sim.ask(lambda pvc: _request(sim, pvc, sim.random.choice(NAMES)))
        sim.run(sim.random.randrange(60))
        if sim.random.random() < 0.7:
            _fault(sim, _on_the_way(sim))
            sim.run(sim.random.randrange(60))
        if sim.random.random() < 0.5:
            _mend(sim)
    _mend(sim)
    for name in sim.names:
        faults = sim.world.host(name).faults
        faults.before.clear()
        faults.after.clear()
    sim.check_at_rest()


def _on_the_way(sim: Nodes) -> tuple[str, ...]:
    """Go on until some guest has begun to move, and a little further, if one does at all: from where, to where."""
    for _ in range(150):
        moves = [
            move
            for node in sim.names
            for uuid in sim.world.host(node).guests
            if (move := sim.world.moves.of(uuid, node))
        ]
        if moves:
            sim.run(sim.random.randrange(25))
            return (moves[0].source, moves[0].target)
        sim.run(1)
    return sim.names


def _request(sim: Nodes, pvc: Services, name: str) -> None:
    node, live_only = sim.random.choice((None, *sim.names)), sim.random.random() < 0.5
    match sim.random.choice("mmmmmmmgggguuusssssssdro"):
        case "m":
            pvc.vms.migrate(name, by="test", node=node, force=sim.random.random() < 0.5, live_only=live_only)
        case "g":
            pvc.vms.move(name, by="test", node=node, live_only=live_only)
        case "u":
            pvc.vms.unmigrate(name, by="test")
        case "s":
            pvc.vms.start(name, by="test")
        case "d":
            pvc.vms.shutdown(name, by="test")
        case "r":
            pvc.vms.restart(name, by="test")
        case "o":
            pvc.vms.stop(name, by="test")


def _fault(sim: Nodes, among: tuple[str, ...]) -> None:
    node = sim.nodes[sim.random.choice(among)]
    host, store = sim.world.host(node.name), node.store
    match sim.random.randrange(13):
        case 0 | 1:
            node.restart_daemon()
        case 2:
            if host.guests:
                sim.world.end(
                    node.name, sim.random.choice(sorted(host.guests)), sim.random.choice(("crashed", "shutdown"))
                )
        case 3:
            store.expire()
        case 4:
            store.cut()
        case 5:
            store.lose_next_answer()
        case 6:
            store.refuse_next_write()
        case 7:
            store.dies_in = sim.random.randrange(6)
        case 8 | 9:
            wrong = sim.random.choice((Retry("the hypervisor is busy", again_in_s=1.0), Crashed()))
            sim.random.choice((host.faults.before, host.faults.after)).append(wrong)
        case 10:
            host.away = not host.away
        case 11:
            sim.world.moves.broken ^= {node.name}
        case 12:
            node.power_cycle()


def _mend(sim: Nodes) -> None:
    """What was cut off is reached again."""
    sim.world.moves.broken.clear()
    for node in sim.nodes.values():
        node.store.mend()
        sim.world.host(node.name).away = False
