"""Who starts first: of guests that could start at the same moment, after a loss or a boot of all, those of the highest
priority; and of those for which there is room for one only, it.
"""

from __future__ import annotations

from functools import partial

from pvc_core.services import Services
from pvc_core.services.vms import VmMeta
from pvc_core.testing.sim_ha import HaCluster, Setting, cluster
from pvc_core.units import MIB

PRIORITIES = {"a": 0, "b": 7, "c": -3, "d": 100}
IN_ORDER = ["d", "b", "a", "c"]


def on_one_node(setting: Setting) -> HaCluster:
    """All four guests on hv3."""
    sim = cluster(5, *PRIORITIES, setting=setting)
    for name in PRIORITIES:
        assert sim.ask(partial(_urgent, name=name)) == ""
        sim.ask(partial(_moved, name=name))
        sim.run(8)
    assert [sim.where(name) for name in PRIORITIES] == [["hv3"]] * 4
    return sim


def _urgent(pvc: Services, *, name: str) -> None:
    pvc.vms.set_meta(name, VmMeta(priority=PRIORITIES[name]), by="test")


def _moved(pvc: Services, *, name: str) -> None:
    pvc.vms.move(name, by="test", node="hv3")


def _started(pvc: Services, *, name: str) -> None:
    pvc.vms.start(name, by="test")


def started(sim: HaCluster, since: int) -> list[str]:
    """Names, in the order in which they were said to run."""
    uuids = {sim.services.vms.get(name).wanted.uuid: name for name in PRIORITIES}
    lines = [line for line in sim.log.lines[since:] if "running on" in line]
    return [uuids[line.rpartition("vm/")[2].rstrip("]")] for line in lines if "vm/" in line]


def test_guests_of_a_lost_node_are_let_go_in_order() -> None:
    sim = on_one_node(Setting())
    sim.nodes["hv3"].power_off()
    sim.run(25)
    said = next(line for line in sim.log.lines if "are let go" in line)
    assert "are let go: d, b, a, c" in said
    assert all(sim.where(name) for name in PRIORITIES)


def test_the_one_that_fits_is_the_most_urgent() -> None:
    """512 MiB of each node are the guests' at most, of which each of the others has one guest's worth left."""
    sim = on_one_node(Setting(memory_bytes=600 * MIB))
    for name in ("x", "y"):
        sim.define(name, memory_mib=250)
        assert sim.ask(partial(_started, name=name)) == ""
    sim.run(10)
    sim.nodes["hv3"].power_off()
    sim.run(25)
    run = [name for name in IN_ORDER if sim.where(name)]
    assert run == IN_ORDER[: len(run)] and 0 < len(run) < 4, run


def test_when_all_nodes_boot_each_starts_its_own_in_order() -> None:
    sim = on_one_node(Setting(stops=0.0))
    for node in sim.nodes.values():
        node.power_off()
    since = len(sim.log.lines)
    for node in sim.nodes.values():
        node.power_on(5.0)
    sim.run(40)
    assert started(sim, since) == IN_ORDER
    assert sim.world.starts == 8
