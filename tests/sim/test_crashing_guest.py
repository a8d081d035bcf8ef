"""A guest that keeps ending by itself: each time it waits longer, after ten times in a row it has failed, in words; who
asks starts it again, and one that has run steadily is as good as new.
"""

from __future__ import annotations

from pvc_core.cluster import layout
from pvc_core.reconcile.vm_start import CRASHES_MAX, STEADY_S
from pvc_core.services.pictures import VmPicture
from pvc_core.testing.sim_ha import QUIET, HaCluster, cluster


def picture(sim: HaCluster) -> VmPicture:
    sim.services.desk.keeper.step()
    return sim.services.vms.get("a")


def crash(sim: HaCluster) -> None:
    """It runs, and ends."""
    for _ in range(600):
        if where := sim.where("a"):
            sim.world.end(where[0], sim.services.vms.get("a").wanted.uuid, "crashed")
            return
        sim.run(0.2, QUIET)
    raise AssertionError(picture(sim).sentence)


def test_it_waits_longer_each_time_then_has_failed_and_starts_when_asked() -> None:
    sim = cluster(3, "a")
    began_s = sim.now_s
    for _ in range(5):
        crash(sim)
    sim.run(2, QUIET)
    assert "ended 5 times in a row (crashed); starting it again in 8 s" in picture(sim).sentence
    assert (seen := picture(sim).seen) is not None and seen.anew_why == "it had ended by itself (crashed)"
    sim.run(12, QUIET)
    assert sim.checks.all(layout.FAULTS)["VM_CRASHING_A"].message.startswith(
        "VM a has ended by itself 5 times in a row"
    )
    for _ in range(CRASHES_MAX - 5):
        crash(sim)
    sim.run(15, QUIET)
    assert sim.now_s - began_s > 1 + 2 + 4 + 8 + 16 + 32 + 60
    now = picture(sim)
    assert now.state == "fail" and now.seen is not None and not sim.where("a")
    assert (
        "10 times in a row (crashed) and is not started again by itself; `pvc vm start a` does"
        in now.seen.failed_reason
    )
    assert list(sim.checks.all(layout.FAULTS)) == ["VM_FAILED_A"]
    sim.run(130, QUIET)
    assert not sim.where("a")
    assert sim.ask(lambda pvc: pvc.vms.start("a", by="test")) == ""
    sim.run(3, QUIET)
    crash(sim)
    sim.run(3, QUIET)
    assert sim.where("a"), "it counts from the beginning"


def test_one_that_has_run_steadily_is_as_good_as_new() -> None:
    sim = cluster(4, "a")
    for _ in range(4):
        crash(sim)
    sim.run(STEADY_S + 90, QUIET)
    assert not sim.checks.all(layout.FAULTS)
    crash(sim)
    sim.run(2, QUIET)
    assert sim.where("a")
