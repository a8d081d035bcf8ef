"""Guests of a lost node that fit nowhere: each says why, node by node, is a fault, and starts when there is room."""

from __future__ import annotations

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.testing.sim_actions import stop
from pvc_core.testing.sim_ha import HaCluster, Setting, cluster
from pvc_core.units import MIB

NAMES = ("a", "b", "c", "d", "e")


def test_who_fits_nowhere_waits_in_words_and_is_a_fault_until_there_is_room() -> None:
    sim = cluster(1, *NAMES, setting=Setting(memory_bytes=384 * MIB))
    lost = sim.where("a")[0]
    sim.nodes[lost].crash()
    sim.run(45)
    waiting = [name for name in NAMES if not sim.where(name)]
    assert waiting and all(faulty(sim, name) for name in waiting)
    for name in waiting:
        said = sentence(sim, name)
        assert said.startswith("fits nowhere (") and "needs 64 MiB of memory" in said and lost in said, said
    for name in sorted(set(NAMES) - set(waiting)):
        stop(sim, name)
    sim.run(60)
    assert all(sim.where(name) and sentence(sim, name).startswith("running") for name in waiting)
    assert not any(faulty(sim, name) for name in waiting)


def sentence(sim: HaCluster, name: str) -> str:
    found = Repository(sim.server.client("test")).all(layout.VM_SEEN)
    return found[sim.services.vms.get(name).wanted.uuid].value.sentence


def faulty(sim: HaCluster, name: str) -> bool:
    return f"VM_WAITING_{name.upper()}" in Repository(sim.server.client("test")).all(layout.FAULTS)
