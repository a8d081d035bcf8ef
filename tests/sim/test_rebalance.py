"""Rules about who lives with whom, and evening out, in the simulator: what is planned is what is done."""

from __future__ import annotations

from pvc_core.model.task import TaskState
from pvc_core.model.vm import MigrationMethod
from pvc_core.services.vms import VmMeta
from pvc_core.testing.sim_nodes import Nodes, cluster


def defined(seed: int, *names: str, tags: dict[str, str] | None = None, node: str = "hv1", count: int = 3) -> Nodes:
    """These VMs live on `node`, and are off."""
    sim = cluster(seed, count=count)
    for name in names:
        sim.define(name)
        sim.settle(3)
        sim.ask(lambda pvc, name=name: pvc.vms.move(name, by="test", node=node))
        sim.settle(3)
        if tags and name in tags:
            said = sim.ask(lambda pvc, name=name: pvc.vms.add_tag(name, tags[name], by="test"))
            assert said == ""
    sim.settle(5)
    return sim


def started(sim: Nodes, *names: str) -> None:
    for name in names:
        assert sim.ask(lambda pvc, name=name: pvc.vms.start(name, by="test")) == ""
    sim.settle(30)


def test_apart_when_they_start_at_once() -> None:
    names = ("a", "b", "c")
    sim = defined(1, *names, tags=dict.fromkeys(names, "anti-affinity:db"))
    started(sim, *names)
    sim.settle(60)
    assert sorted(sim.where(name)[0] for name in names) == ["hv1", "hv2", "hv3"]


def test_apart_is_given_up_when_no_other_node_fits() -> None:
    names = ("a", "b", "c")
    sim = defined(2, *names, tags=dict.fromkeys(names, "anti-affinity:db"), count=2)
    started(sim, *names)
    sim.settle(60)
    assert sorted({sim.where(name)[0] for name in names}) == ["hv1", "hv2"], "all run, as far apart as two nodes allow"


def test_a_move_to_where_it_shall_not_be_is_refused_by_name() -> None:
    sim = defined(3, "a", "b", tags={"a": "anti-affinity:b-tag", "b": "b-tag"})
    started(sim, "a", "b")
    with_b = sim.where("b")[0]
    assert sim.where("a") != [with_b]
    said = sim.ask(lambda pvc: pvc.vms.move("a", by="test", node=with_b))
    assert f"cannot move to {with_b}: VM b is there, and the two shall be apart (anti-affinity:b-tag)" in said
    back = sim.where("a")[0]
    assert "VM a is there" in sim.ask(lambda pvc: pvc.vms.move("b", by="test", node=back)), "it holds both ways"
    assert sim.ask(lambda pvc: pvc.vms.migrate("a", by="test", node=with_b, force=True, wait=True)) == ""


def test_together_is_preferred() -> None:
    sim = defined(4, "web", "cache", tags={"cache": "affinity:web", "web": "web"}, node="hv3")
    started(sim, "web", "cache")
    assert sim.ask(lambda pvc: pvc.nodes.flush("hv3", by="test", wait=True)) == ""
    sim.check_at_rest()
    assert sim.where("web") == sim.where("cache") != ["hv3"]


def test_a_rebalance_does_what_its_plan_says() -> None:
    names = [f"vm{number}" for number in range(9)]
    sim = defined(5, *names)
    started(sim, *names)
    sim.services.desk.keeper.step()
    plan = sim.services.rebalance.plan()
    assert len(plan) == 6 and {move.source for move in plan} == {"hv1"}
    assert "% of its memory" in plan[0].why
    task = sim.services.rebalance.run(by="test")
    sim.check_at_rest()
    assert [sim.where(move.name) for move in plan] == [[move.target] for move in plan]
    ended = sim.services.tasks.get(task.id)
    assert ended.state is TaskState.SUCCESS and ended.status == "6 VMs were moved"
    assert sorted(sum(sim.where(name) == [node] for name in names) for node in sim.names) == [3, 3, 3]
    assert sim.services.rebalance.plan() == [] and all(not sim.services.vms.get(name).last_node for name in names)
    nothing = sim.services.rebalance.run(by="test")
    sim.settle(5)
    assert "nothing was moved" in sim.services.tasks.get(nothing.id).status


def test_a_rebalance_mends_broken_rules_first() -> None:
    sim = defined(6, "a", "b")
    started(sim, "a", "b")
    assert sim.where("a") == sim.where("b") == ["hv1"]
    for name in ("a", "b"):
        sim.ask(lambda pvc, name=name: pvc.vms.add_tag(name, "anti-affinity:db", by="test"))
    sim.ask(lambda pvc: pvc.vms.set_meta("b", VmMeta(node_limit=("hv1", "hv3")), by="test"))
    sim.settle(5)
    first = sim.services.rebalance.plan()[0]
    assert "shall be apart (anti-affinity:db)" in first.why, first
    sim.services.rebalance.run(by="test")
    sim.check_at_rest()
    assert sim.where("a") != sim.where("b") and sim.where("b")[0] in ("hv1", "hv3")


def test_a_rebalance_leaves_alone_what_cannot_move_while_it_runs() -> None:
    names = ("a", "b", "c")
    sim = defined(7, *names)
    started(sim, *names)
    for name in names:
        meta = VmMeta(migration_method=MigrationMethod.SHUTDOWN)
        sim.ask(lambda pvc, name=name, meta=meta: pvc.vms.set_meta(name, meta, by="test"))
    sim.settle(5)
    assert sim.services.rebalance.plan() == []


def test_a_rebalance_survives_the_primary_and_names_what_did_not_move() -> None:
    names = [f"vm{number}" for number in range(6)]
    sim = defined(8, *names)
    started(sim, *names)
    sim.services.desk.keeper.step()
    plan = sim.services.rebalance.plan()
    task = sim.services.rebalance.run(by="test")
    sim.run(300)
    sim.nodes["hv1"].restart_daemon()
    last = plan[-1]
    sim.ask(lambda pvc: pvc.vms.stop(last.name, by="test"))
    sim.check_at_rest()
    ended = sim.services.tasks.get(task.id)
    assert all(sim.where(move.name) == [move.target] for move in plan[:-1])
    if ended.state is TaskState.FAILURE:
        assert last.name in ended.status
