"""Everything that can happen to a node, as real as it gets here, and what must come of it. `play` strikes, checks,
repairs, and leaves the cluster whole.

With the pool in a directory that all nodes share only OFF lets a guest go (docs/high-availability.md): a node that
cannot be proved off keeps its guests, in words, until it says so itself or is booted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lab import LabError
from tests.lab.failover import Rig

SHORT_S = 12.0
"""Longer than any node goes on without being heard (8 s), much shorter than a sick one is given (30 s)."""
PROVE_S = 15.0
"""Longer than a fence takes that works; for watching that nothing happens."""


@dataclass(frozen=True)
class Fault:
    name: str
    whom: Callable[[Rig], str]
    """Which node it strikes, as things are."""
    strike: Callable[[Rig, str], None]
    nodes: int = 3
    """So many the cluster must have."""


@dataclass(frozen=True)
class Came:
    """`elsewhere_s`: None when no guest had to move."""

    fault: str
    node: str
    elsewhere_s: float | None
    took_s: float
    doubles: list[str]
    notes: list[str]


def play(rig: Rig, fault: Fault) -> Came:
    """Raises AssertionError when a guest executed twice, was lost, or the cluster does not come to rest."""
    rig.whole()
    rig.elsewhere_s, rig.notes = None, []
    node = fault.whom(rig)
    rig.occupy(node)
    began_s = time.monotonic()
    try:
        fault.strike(rig, node)
    finally:
        rig.repair()
    rig.whole()
    return Came(fault.name, node, rig.elsewhere_s, time.monotonic() - began_s, list(rig.watch.found), rig.notes)


# -- whom -------------------------------------------------------------------------------------------------------------


def busy(rig: Rig) -> str:
    """A node with guests, and no coordinator where there is such."""
    nodes = [name for name in rig.lab.nodes if rig.guests_on(name)]
    return next((name for name in nodes if name not in rig.lab.coordinators), nodes[0])


def follower(rig: Rig) -> str:
    """A node with guests that leads nothing."""
    leads = {rig.primary(), rig.store_leader()}
    nodes = sorted(rig.lab.nodes, key=lambda name: (name in leads, not rig.guests_on(name)))
    return nodes[0]


def primary(rig: Rig) -> str:
    return rig.primary()


def store_leader(rig: Rig) -> str:
    return rig.store_leader()


# -- what happens -----------------------------------------------------------------------------------------------------


def power_fails(rig: Rig, node: str) -> None:
    guests = rig.guests_on(node)
    rig.strike(lambda: rig.lab.power_off(node))
    rig.run_elsewhere(guests, node)
    _is_fenced(rig, node)


def cut_off(rig: Rig, node: str) -> None:
    """Its controller answers: the others switch it off while it stands still, and on again."""
    guests = rig.guests_on(node)
    rig.strike(lambda: rig.lab.cut(node))
    rig.run_elsewhere(guests, node)
    _is_fenced(rig, node)


def cut_off_bmc_dead(rig: Rig, node: str) -> None:
    """Nobody can prove anything: it stands still and keeps its guests. When it is heard it gives its word."""
    _cannot_be_proved(rig, node, "dead")
    guests = rig.guests_on(node)
    rig.stand_still(guests)
    rig.lab.heal(node)
    rig.until(lambda: rig.node(node)["daemon_state"] != "dead", f"{node} says itself that its guests are gone")


def cut_off_bmc_disobeys(rig: Rig, node: str) -> None:
    """Its controller says done and does nothing: power reads on, and that proves nothing."""
    _cannot_be_proved(rig, node, "disobey")
    rig.lab.heal(node)
    rig.until(lambda: rig.node(node)["daemon_state"] != "dead", f"{node} says itself that its guests are gone")


def power_fails_bmc_dead(rig: Rig, node: str) -> None:
    """The controller dies with its machine. Its guests wait until it boots, which proves it off."""
    _dies_with_its_bmc(rig, node)
    rig.lab.power_on(node)


def power_fails_person_vouches(rig: Rig, node: str) -> None:
    """The same, and a person who has looked says so."""
    guests = _dies_with_its_bmc(rig, node)
    said = rig.lab.pvc("node", "fence", "-y", node)
    assert said.returncode == 0, said.stdout + said.stderr
    rig.run_elsewhere(guests, node)
    _is_fenced(rig, node)


def one_network(net: str) -> Callable[[Rig, str], None]:
    def strike(rig: Rig, node: str) -> None:
        """Its guard answers on the others: it is not fenced, and keeps its guests."""
        guests, boot = rig.guests_on(node), rig.lab.pid_namespace(node)
        rig.strike(lambda: rig.lab.cut(node, net))
        rig.stays(guests, for_s=SHORT_S, node=node)
        if net != "cluster":
            assert all(rig.watch.executing(rig.uuids[name]) == {node} for name in guests), "they went on all the time"
        rig.lab.heal(node, net)
        rig.until(lambda: rig.node(node)["daemon_state"] == "run", f"{node} is heard again")
        assert rig.lab.pid_namespace(node) == boot, f"{node} was switched off though it answered"

    return strike


def sick(rig: Rig, node: str) -> None:
    """Without the cluster network it lives and can reach no store: after 30 s it is asked to let its guests go."""
    guests, boot = rig.guests_on(node), rig.lab.pid_namespace(node)
    rig.strike(lambda: rig.lab.cut(node, "cluster"))
    rig.run_elsewhere(guests, node)
    rig.note("its own word" if rig.lab.pid_namespace(node) == boot else "by power")


def daemon_dies_while_fenced(rig: Rig, node: str) -> None:
    guests = rig.guests_on(node)
    rig.strike(lambda: rig.lab.cut(node))
    _is_dead(rig, node)
    _kill(rig, node, "pvcnoded")
    rig.run_elsewhere(guests, node)
    _is_fenced(rig, node)


def primary_dies_while_fencing(rig: Rig, node: str) -> None:
    guests, judge = rig.guests_on(node), rig.primary()
    rig.strike(lambda: rig.lab.power_off(node))
    _is_dead(rig, node)
    _kill(rig, judge, "pvcnoded")
    rig.run_elsewhere(guests, node)


def primary_loses_power_while_fencing(rig: Rig, node: str) -> None:
    """Whoever is primary next goes on with it, and with the former primary."""
    judge = rig.primary()
    guests = {node: rig.guests_on(node), judge: rig.guests_on(judge)}
    rig.strike(lambda: rig.lab.power_off(node))
    _is_dead(rig, node)
    rig.lab.power_off(judge)
    for lost, names in guests.items():
        rig.run_elsewhere(names, lost)


def two_at_once(rig: Rig, node: str) -> None:
    other = next(name for name in rig.lab.nodes if name not in rig.lab.coordinators and name != node)
    guests = {name: rig.guests_on(name) for name in (node, other)}
    rig.strike(lambda: [rig.lab.power_off(name) for name in guests])
    for lost, names in guests.items():
        rig.run_elsewhere(names, lost)


def cold_start(rig: Rig, node: str) -> None:
    """The power of all fails and comes back: every guest that should run runs, once."""
    rig.strike(lambda: [rig.lab.power_off(name) for name in rig.lab.nodes])
    time.sleep(2.0)
    for name in rig.lab.nodes:
        rig.lab.power_on(name)


FAULTS = (
    Fault("power of a node fails", busy, power_fails),
    Fault("power of the primary fails", primary, power_fails),
    Fault("power of the store's leader fails", store_leader, power_fails),
    Fault("cut off", follower, cut_off),
    Fault("cut off, BMC dead", follower, cut_off_bmc_dead),
    Fault("cut off, BMC disobeys", follower, cut_off_bmc_disobeys),
    Fault("power fails, BMC dead", busy, power_fails_bmc_dead),
    Fault("power fails, BMC dead, a person vouches", follower, power_fails_person_vouches),
    Fault("upstream network cut", busy, one_network("upstream")),
    Fault("storage network cut", busy, one_network("storage")),
    Fault("cluster network cut, short", follower, one_network("cluster")),
    Fault("cluster network cut, long", follower, sick),
    Fault("pvcnoded dies while its node is fenced", follower, daemon_dies_while_fenced),
    Fault("the primary's pvcnoded dies while it fences", follower, primary_dies_while_fencing),
    Fault("the primary loses its power while it fences", busy, primary_loses_power_while_fencing, nodes=5),
    Fault("power of two fails at once", busy, two_at_once, nodes=5),
    Fault("power of all fails and comes back", busy, cold_start),
)


# -- helpers ----------------------------------------------------------------------------------------------------------


def _is_dead(rig: Rig, node: str) -> None:
    rig.until(lambda: rig.node(node)["daemon_state"] in ("dead", "fenced"), f"{node} is given up")


def _is_fenced(rig: Rig, node: str) -> None:
    rig.until(
        lambda: rig.was_fenced(node), f"{node} is shown as fenced, or has booted since", tell=lambda: rig.node(node)
    )


def _cannot_be_proved(rig: Rig, node: str, fault: str) -> None:
    guests = rig.guests_on(node)
    rig.lab.bmc(node, fault)
    rig.strike(lambda: rig.lab.cut(node))
    _waits_in_words(rig, node, guests)
    rig.stays(guests, for_s=PROVE_S, node=node)
    assert rig.node(node)["daemon_state"] == "dead", rig.node(node)


def _dies_with_its_bmc(rig: Rig, node: str) -> list[str]:
    guests = rig.guests_on(node)
    rig.lab.bmc(node, "dead")
    rig.strike(lambda: rig.lab.power_off(node))
    _waits_in_words(rig, node, guests)
    rig.stays(guests, for_s=PROVE_S, node=node)
    return guests


def _waits_in_words(rig: Rig, node: str, guests: list[str]) -> None:
    """The node is dead, not fenced; it says what is missing and what helps, and so does each of its guests."""
    what = f"{node} is given up, not proved off, and says why"
    rig.until(lambda: "Nothing proves that it is off: " in rig.node(node)["status"], what, tell=lambda: rig.node(node))
    assert rig.node(node)["daemon_state"] == "dead", rig.node(node)
    said = f"waits: its node {node} is lost; "
    rig.until(
        lambda: all(rig.vm(name)["status"].startswith(said) for name in guests),
        f"{guests} say that they wait",
        tell=lambda: [rig.vm(name)["status"] for name in guests],
    )
    rig.note(str(rig.node(node)["status"]))
    rig.until(lambda: f"DEAD_NODE_{node.upper()}" in rig.lab.pvc("cluster", "fault", "list").stdout, "there is a fault")


def _kill(rig: Rig, node: str, daemon: str) -> None:
    try:
        rig.lab.kill(node, daemon)
    except LabError as error:
        rig.note(f"{daemon} was gone already ({error})")  # its power was quicker
