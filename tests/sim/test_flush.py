"""Nodes that are flushed and made ready again in the simulator: what moves, what comes back, what is said about what
cannot, and that no fault in the middle loses a guest or an order.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.cluster import layout
from pvc_core.model.task import Task, TaskState
from pvc_core.model.vm import MigrationMethod, Phase
from pvc_core.services.vms import VmMeta
from pvc_core.testing.sim_nodes import Nodes, cluster

NAMES = ("a", "b", "c", "d")


def on_hv1(seed: int, *names: str, count: int = 3) -> Nodes:
    """These VMs run on hv1."""
    sim = cluster(seed, count=count)
    for name in names:
        sim.define(name)
        sim.settle(2)
        sim.ask(lambda pvc, name=name: pvc.vms.move(name, by="test", node="hv1"))
    sim.settle(10)
    for name in names:
        assert sim.ask(lambda pvc, name=name: pvc.vms.start(name, by="test")) == ""
    sim.settle(20)
    assert all(sim.where(name) == ["hv1"] for name in names)
    return sim


def state(sim: Nodes, node: str = "hv1") -> str:
    return str(sim.services.nodes.get(node).seen.domain_state)


def last_task(sim: Nodes, kind: str) -> Task:
    return [task for task in sim.services.tasks.list() if task.kind == kind][-1]


def everywhere(sim: Nodes) -> dict[str, list[str]]:
    return {vm.wanted.name: sim.where(vm.wanted.name) for vm in sim.services.vms.list()}


def test_it_walks_through_its_states_and_gets_back_what_was_moved_from_it() -> None:
    sim = on_hv1(1, *NAMES)
    sim.define("other")
    sim.settle(5)
    sim.ask(lambda pvc: pvc.vms.move("other", by="test", node="hv2"))
    sim.settle(5)
    sim.ask(lambda pvc: pvc.vms.start("other", by="test"))
    sim.settle(20)
    starts, seen = sim.world.starts, []

    def watch() -> None:
        for _ in range(6000):
            sim.step()
            sim.services.desk.keeper.step()
            if not seen or seen[-1] != state(sim):
                seen.append(state(sim))

    assert sim.ask(lambda pvc: pvc.nodes.flush("hv1", by="test")) == ""
    watch()
    sim.check_at_rest()
    assert state(sim) == "flushed" and all(sim.where(name) not in ([], ["hv1"]) for name in NAMES)
    done = last_task(sim, "node.flush")
    assert done.state is TaskState.SUCCESS and done.status == "node hv1 is flushed: 4 VMs left it", done
    assert all(sim.services.vms.get(name).last_node == "hv1" for name in NAMES)
    assert sim.ask(lambda pvc: pvc.nodes.ready("hv1", by="test")) == ""
    watch()
    sim.check_at_rest()
    assert everywhere(sim) == {**{key: ["hv1"] for key in NAMES}, "other": ["hv2"]}
    assert seen == ["ready", "flush", "flushed", "unflush", "ready"] and sim.world.starts == starts
    assert all(sim.services.vms.get(name).last_node == "" for name in NAMES)


def test_no_more_than_a_set_number_are_on_their_way() -> None:
    sim = on_hv1(2, *NAMES)
    sim.ask(lambda pvc: pvc.nodes.flush("hv1", by="test"))
    most = 0
    for _ in range(6000):
        sim.step()
        moving = [kept for kept in sim.watcher.all(layout.CLAIMS).values() if kept.value.phase is Phase.MIGRATING]
        most = max(most, len(moving))
    sim.check_at_rest()
    assert most == 2 and state(sim) == "flushed"


def test_one_that_cannot_leave_is_named_and_the_node_is_not_called_flushed() -> None:
    sim = on_hv1(3, "a")
    assert sim.ask(lambda pvc: pvc.storage.add_pool("local", by="test", driver="fake")) == ""
    sim.settle(10)
    assert sim.ask(lambda pvc: pvc.storage.add_volume("local", "disk", 1 << 20, by="test")) == ""
    home = sim.watcher.get(layout.VOLUMES, layout.volume_id("local", "disk")).value.home
    text = '<domain><name>tied</name><memory>64</memory><vcpu>1</vcpu><disk dev="vda" volume="local/disk"/></domain>'
    assert sim.ask(lambda pvc: pvc.vms.define(text, by="test")) == ""
    sim.settle(10)
    assert sim.ask(lambda pvc: pvc.vms.start("tied", by="test")) == ""
    sim.settle(20)
    said = sim.ask(lambda pvc: pvc.nodes.flush(home, by="test", wait=True))
    assert f"node {home} is not flushed" in said and "VM tied" in said and f"are on {home}" in said, said
    sim.settle(20)
    assert state(sim, home) == "flush" and sim.where("tied") == [home]
    assert "VM tied" in sim.services.nodes.get(home).seen.sentence
    # What hindered it is gone: it goes on by itself.
    assert sim.ask(lambda pvc: pvc.vms.stop("tied", by="test")) == ""
    sim.check_at_rest()
    assert state(sim, home) == "flushed"


def test_one_that_a_node_does_not_take_goes_to_another() -> None:
    sim = cluster(4)
    sim.define("a", extra='<cpu foreign="hv2"/>')
    sim.settle(5)
    sim.ask(lambda pvc: pvc.vms.move("a", by="test", node="hv1"))
    sim.settle(5)
    sim.ask(lambda pvc: pvc.vms.set_meta("a", VmMeta(migration_method=MigrationMethod.LIVE), by="test"))
    sim.ask(lambda pvc: pvc.vms.start("a", by="test"))
    sim.settle(20)
    assert sim.ask(lambda pvc: pvc.nodes.flush("hv1", by="test", wait=True)) == ""
    sim.check_at_rest()
    assert sim.where("a") == ["hv3"] and state(sim) == "flushed"


def test_ready_ends_a_flush_at_once() -> None:
    sim = on_hv1(5, *NAMES)
    sim.ask(lambda pvc: pvc.nodes.flush("hv1", by="test"))
    for _ in range(4000):
        sim.step()
        if any(kept.value.phase is Phase.MIGRATING for kept in sim.watcher.all(layout.CLAIMS).values()):
            break
    assert sim.ask(lambda pvc: pvc.nodes.ready("hv1", by="op")) == ""
    sim.check_at_rest()
    assert everywhere(sim) == {key: ["hv1"] for key in NAMES} and state(sim) == "ready"
    ended = last_task(sim, "node.flush")
    assert ended.state is TaskState.FAILURE and "called off: node hv1 was asked by op to be ready" in ended.status
    moved = [vm.wanted.move for vm in sim.services.vms.list()]
    assert 0 in [move - 1 for move in moved], f"those that had not been asked to go were left alone: {moved}"


def test_what_a_person_moved_away_for_good_stays_away() -> None:
    sim = on_hv1(6, "a", "b")
    sim.ask(lambda pvc: pvc.nodes.flush("hv1", by="test", wait=True))
    sim.settle(5)
    here = sim.services.vms.get("a").node
    assert sim.ask(lambda pvc: pvc.vms.move("a", by="test", node=here)) == ""
    assert sim.ask(lambda pvc: pvc.nodes.ready("hv1", by="test", wait=True)) == ""
    sim.check_at_rest()
    assert sim.where("a") == [here] and sim.where("b") == ["hv1"]


def test_autostart_starts_once_when_its_node_gets_ready() -> None:
    sim = on_hv1(7, "a", "b")
    for name in ("a", "b"):
        sim.ask(lambda pvc, name=name: pvc.vms.shutdown(name, by="test"))
    sim.settle(20)
    sim.ask(lambda pvc: pvc.vms.set_meta("a", VmMeta(autostart=True), by="test"))
    sim.settle(20)
    assert everywhere(sim) == {"a": [], "b": []}
    sim.nodes["hv1"].power_cycle()
    sim.check_at_rest()
    assert everywhere(sim) == {"a": ["hv1"], "b": []} and not sim.services.vms.get("a").wanted.autostart


@pytest.mark.parametrize("seed", range(12))
def test_daemons_and_nodes_die_in_the_middle(seed: int) -> None:
    sim = on_hv1(seed, *NAMES)
    sim.ask(lambda pvc: pvc.nodes.flush("hv1", by="test"))
    for _ in range(12):
        sim.run(sim.random.randrange(120))
        node = sim.nodes[sim.random.choice(sim.names)]
        match sim.random.randrange(5):
            case 0 | 1:
                node.restart_daemon()
            case 2:
                node.store.expire()
            case 3:
                node.store.lose_next_answer()
            case 4:
                state_ = sim.random.choice((sim.services.nodes.flush, sim.services.nodes.ready))
                sim.ask(lambda _, state_=state_: state_("hv1", by="test"))
    asked = sim.watcher.get(layout.NODE_WANTED, "hv1").value.domain_state
    sim.check_at_rest()
    assert state(sim) == asked
    if asked == "ready":
        assert everywhere(sim) == {key: ["hv1"] for key in NAMES}
    else:
        assert all(where and where != ["hv1"] for where in everywhere(sim).values())


def test_a_node_that_is_shut_down_gives_its_guests_away_and_shuts_down_what_cannot_go() -> None:
    sim = on_hv1(8, "a", "b")
    sim.ask(lambda pvc: pvc.vms.set_meta("b", VmMeta(node_limit=("hv1",)), by="test"))
    kept = sim.watcher.find(layout.NODE_WANTED, "hv1")
    sim.ask(lambda pvc: pvc.nodes.flush("hv1", by="test"))
    kept = sim.watcher.get(layout.NODE_WANTED, "hv1")
    leaving = replace(kept.value, leaving=sim.nodes["hv1"].incarnation)
    sim.watcher.set(layout.NODE_WANTED, "hv1", leaving, if_version=kept.version)
    sim.settle(60)
    assert sim.where("a") not in ([], ["hv1"]) and sim.where("b") == [] and state(sim) == "flushed"
    vm = sim.services.vms.get("b")
    assert vm.state == "stop" and vm.wanted.autostart and vm.node == "hv1"
    sim.nodes["hv1"].power_cycle()
    sim.check_at_rest()
    assert everywhere(sim) == {"a": ["hv1"], "b": ["hv1"]} and state(sim) == "ready"
    assert not sim.services.vms.get("b").wanted.autostart
