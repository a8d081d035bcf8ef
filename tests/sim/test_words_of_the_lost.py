"""A node that nothing proves off: whoever looks at it or at one of its guests reads what is missing and what helps."""

from __future__ import annotations

from pvc_core.model.vm import VmSeen
from pvc_core.services import Services
from pvc_core.testing.sim_ha import HaCluster
from pvc_core.testing.sim_scenario import Scenario, Step, play


def lost(*then: Step) -> HaCluster:
    """hv3 has a guest and loses its power, and its controller with it."""
    steps = (
        Step(at=2, do="move", args={"vm": "a", "node": "hv3"}),
        Step(at=20, do="power_off", args={"node": "hv3", "with_bmc": True}),
        *then,
    )
    return play(Scenario(name="words", steps=steps, quiet=0))


def said(sim: HaCluster) -> tuple[str, str, str]:
    """The node's state, its sentence, the guest's sentence, as a service says them."""
    found: list[str] = []

    def look(services: Services) -> None:
        node, vm = services.nodes.get("hv3"), services.vms.get("a")
        found.extend((str(node.seen.daemon_state), node.seen.sentence, vm.seen.sentence if vm.seen else ""))

    assert sim.ask(look) == ""
    state, node_says, vm_says = found
    return state, node_says, vm_says


def test_what_is_missing_is_said_by_the_node_and_by_each_guest() -> None:
    state, node_says, vm_says = said(lost(Step(at=60, do="must_stand_still", args={"vm": "a"})))
    assert state == "dead"
    assert node_says.startswith("given up: its heartbeat has not moved for ")
    assert ". Nothing proves that it is off: " in node_says and "does not answer" in node_says
    assert node_says.endswith("if it is off for certain, say so: pvc node fence hv3")
    assert vm_says.startswith("waits: its node hv3 is lost; nothing proves yet")


def test_nobody_waits_any_more_when_a_person_has_vouched() -> None:
    vouched = Step(at=61, do="vouch", args={"node": "hv3"})
    sim = lost(vouched, Step(at=75, do="must_execute", args={"vm": "a"}))
    state, node_says, vm_says = said(sim)
    assert state == "fenced" and "Nothing proves" not in node_says
    assert vm_says.startswith("running on ")
    assert any("guests of node hv3 are let go: a" in line for line in sim.log.lines)


def test_what_happened_is_still_told_when_it_runs_again() -> None:
    vouched = Step(at=61, do="vouch", args={"node": "hv3"})
    sim = lost(vouched, Step(at=75, do="must_execute", args={"vm": "a"}))
    found: list[VmSeen | None] = []
    assert sim.ask(lambda services: found.append(services.vms.get("a").seen)) == ""
    (seen,) = found
    assert seen is not None and seen.sentence.startswith("running on ")
    assert seen.anew_why.startswith("recovered from hv3, which was given up (its heartbeat has not moved for ")
    assert "and proved harmless (person: " in seen.anew_why
    assert seen.anew_at_s <= seen.started_at_s
