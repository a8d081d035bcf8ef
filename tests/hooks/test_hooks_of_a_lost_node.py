"""A small plugin that wants to know of lost nodes and failed guests hears of each once, and in order."""

from __future__ import annotations

from pvc_core.hookspecs import hookimpl
from pvc_core.model.vm import VmWanted
from pvc_core.reconcile.vm_start import CRASHES_MAX
from pvc_core.testing.sim_ha import QUIET, HaCluster, cluster


class Pager:
    """What an operator's paging plugin would look like."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @hookimpl
    def pvc_node_lost(self, node: str, why: str) -> None:
        self.told.append(f"{node} is lost: {why}")

    @hookimpl
    def pvc_node_fenced(self, node: str, why: str) -> None:
        self.told.append(f"{node} is fenced: {why}")

    @hookimpl
    def pvc_node_returned(self, node: str) -> None:
        self.told.append(f"{node} is back")

    @hookimpl
    def pvc_vm_failed(self, vm: VmWanted, reason: str) -> None:
        self.told.append(f"{vm.name} has failed: {reason}")


def world(*vms: str) -> tuple[HaCluster, Pager]:
    pager = Pager()
    return cluster(2, *vms, listeners={"pager": pager}), pager


def lose(sim: HaCluster, *, bmc: str) -> str:
    """A node that leads nothing loses its power; its name."""
    node = next(name for name in sim.names if name != sim.primary)
    sim.fences.machines[node].behaviour = type(sim.fences.machines[node].behaviour)(bmc)
    sim.nodes[node].power_off()
    return node


def test_a_node_is_lost_then_fenced_then_back_and_each_is_told_once() -> None:
    sim, pager = world()
    node = lose(sim, bmc="ok")
    sim.run(90, QUIET)
    assert [line.partition(":")[0] for line in pager.told] == [
        f"{node} is lost",
        f"{node} is fenced",
        f"{node} is back",
    ]
    assert "heartbeat has not moved" in pager.told[0] and "power reads off" in pager.told[1], pager.told


def test_a_node_that_nothing_proves_off_is_lost_and_not_fenced() -> None:
    sim, pager = world()
    node = lose(sim, bmc="dead")
    sim.run(60, QUIET)
    assert [line.partition(":")[0] for line in pager.told] == [f"{node} is lost"]


def test_a_guest_that_crashes_too_often_has_failed() -> None:
    sim, pager = world("a")
    uuid = sim.services.vms.get("a").wanted.uuid
    crashes = 0
    while crashes < CRASHES_MAX:
        for node in sim.where("a"):
            sim.world.end(node, uuid, "crashed")
            crashes += 1
        sim.run(1, QUIET)
    sim.run(5, QUIET)
    assert len(pager.told) == 1 and pager.told[0].startswith("a has failed: it ended by itself 10 times in a row")
