"""Each step of a live migration, each fault: what the tests of the lab play on real nodes (tests/system/move_grid.py),
here in no time, with nothing left to chance but who goes on first. docs/migration.md has the outcomes.
"""

from __future__ import annotations

import pytest

from pvc_core.testing.sim_nodes import Nodes, SimNode, cluster

STEPS = {
    "move.asked": "source",
    "move.prepare": "target",
    "move.set-out": "source",
    "move.gone": "source",
    "move.handed-over": "source",
    "move.arrived": "target",
    "move.stamped": "target",
    "move.resumed": "target",
}
ALWAYS_MOVES = ("daemon dies", "store is cut off", "answer is lost")


def struck(seed: int, step: str, side: str, fault: str) -> tuple[Nodes, str, str]:
    """A cluster at rest, in which guest "a" was on its way when `fault` struck the `side` at `step`: source, target."""
    sim = cluster(seed, "a")
    (source,) = sim.where("a")
    target = next(name for name in sim.names if name != source)
    victim = sim.nodes[source if side == "source" else target]
    happened: list[str] = []

    def happens() -> None:
        happened.append(step)
        _strike(sim, victim, fault, own=victim is at)

    at = sim.nodes[source if STEPS[step] == "source" else target]
    at.at[step] = happens
    assert sim.ask(lambda pvc: pvc.vms.move("a", by="test", node=target)) == ""
    for _ in range(20_000):
        if happened:
            break
        sim.run(1)
    assert happened, f"nobody came to {step}"
    sim.run(200)
    for node in sim.nodes.values():
        node.store.mend()
    sim.check_at_rest()
    return sim, source, target


def _strike(sim: Nodes, victim: SimNode, fault: str, *, own: bool) -> None:
    match fault:
        case "daemon dies" if own:
            victim.next_life = victim.restart_daemon
        case "daemon dies":
            victim.restart_daemon()
        case "power fails" if own:
            victim.next_life = victim.power_cycle
        case "power fails":
            victim.power_cycle()
        case "store is cut off":
            victim.store.cut()
        case "answer is lost":
            victim.store.lose_next_answer()


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("fault", ALWAYS_MOVES)
@pytest.mark.parametrize("step", STEPS)
def test_it_arrives_with_its_memory(step: str, side: str, fault: str) -> None:
    sim, _, target = struck(11, step, side, fault)
    assert sim.where("a") == [target] and sim.world.starts == 1


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("step", STEPS)
def test_one_guest_is_left_when_a_node_loses_its_power(step: str, side: str) -> None:
    """The source's power before it has left, or the target's after it has, costs its memory, and nothing more."""
    sim, _, target = struck(11, step, side, "power fails")
    had_left = step in ("move.gone", "move.handed-over", "move.arrived", "move.stamped", "move.resumed")
    anew = had_left if side == "target" else not had_left
    assert sim.where("a") == [target] and sim.world.starts == (2 if anew else 1)
