# SPDX-License-Identifier: LGPL-3.0-or-later
"""A scenario: a cluster, what happens to it when, and what must have been said. Written by hand, or by a failing seed;
read and written by sim_text.py.

In YAML:

    name: power loss of a hypervisor
    setting: {nodes: 3, storage: true, proof: one}
    vms: [web, db]
    steps:
      - {at: 5, do: power_off, node: "@web"}
    expect: ["is given up", "proved: .*power reads off", "running on"]
    refuse: ["proof"]
    quiet: 120

Times are seconds after the VMs run. A step may say `once: REGEX` instead of `at`: as soon as the log has shown such a
line since the step before; or `before: REGEX`: when a node is about to ask a driver for that, as "hv3 starting the
guest". Lines of `expect` are regular expressions that the log must show in this order;
those of `refuse` it must not show. `known_limit` names what the scenario shows that nobody can prevent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pvc_core.testing.sim_actions import ACTIONS, calm, named, vouch
from pvc_core.testing.sim_ha import QUIET, HaCluster, Setting, cluster

VOUCH_S = 40.0


AWAIT_S = 120.0
"""So long a step waits for its moment."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """With `once` or `before`, `at` is the time of the step that it follows."""

    at: float
    do: str
    args: Mapping[str, Any] = field(default_factory=dict)
    once: str = ""
    before: str = ""

    def plain(self) -> dict[str, Any]:
        when = {"once": self.once} if self.once else {"before": self.before} if self.before else {"at": self.at}
        return {**when, "do": self.do, **self.args}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    name: str
    seed: int = 1
    setting: Setting = field(default_factory=Setting)
    vms: tuple[str, ...] = ("a", "b", "c")
    """Each has a volume of its own in the shared pool, but for those whose name begins with "live"."""
    steps: tuple[Step, ...] = ()
    quiet: float = 120.0
    """Seconds without faults at the end, after which all must be well; 0: it ends with the last step."""
    expect: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()
    starts: int | None = None
    """How many guests were started in all, those of the beginning included."""
    where: Mapping[str, str] = field(default_factory=dict)
    """VM -> the node it must execute on in the end; "" for none."""
    known_limit: str = ""
    letters: tuple[str, ...] = ()
    """The schedules of the safety rules that it answers."""


def play(scenario: Scenario) -> HaCluster:
    """Raises AssertionError, with the log, when something that must be true was not."""
    sim = cluster(scenario.seed, *scenario.vms, setting=scenario.setting)
    began_s, told = sim.now_s, 0
    for step in sorted(scenario.steps, key=lambda one: one.at):
        if step.before:
            told = _strike(sim, step)
            continue
        if step.once:
            _await(sim, step.once, told)
        else:
            sim.run(began_s + step.at - sim.now_s)
        told = len(sim.log.lines) + 1  # what it does may be what the next one waits for; its own words are not
        do(sim, step)
    if scenario.quiet:
        rest(sim, scenario.quiet)
    judge(scenario, sim)
    return sim


def _await(sim: HaCluster, pattern: str, told: int) -> None:
    end_s = sim.now_s + AWAIT_S
    while (shown := next((line for line in sim.log.lines[told:] if re.search(pattern, line)), None)) is None:
        sim.checks.demand(sim.now_s < end_s, f"for {AWAIT_S:.0f} s the log does not show {pattern!r}")
        sim.turn()
    sim.here = shown.split()[1]  # TimedLog: when, who, what


def _strike(sim: HaCluster, step: Step) -> int:
    """How much the log had told when it happened."""
    told: list[int] = []

    def happens() -> None:
        told.append(len(sim.log.lines) + 1)
        do(sim, step)

    sim.struck_before = (step.before, happens)
    end_s = sim.now_s + AWAIT_S
    while not told:
        sim.checks.demand(sim.now_s < end_s, f"for {AWAIT_S:.0f} s nobody asks for {step.before!r}")
        sim.turn()
    return told[0]


def do(sim: HaCluster, step: Step) -> None:
    args = dict(step.args)
    if "node" in args and args["node"] is not None:
        args["node"] = named(sim, args["node"])
        if not args["node"]:
            return
    sim.log.info(f"--- {step.do} {' '.join(f'{key}={value}' for key, value in args.items())}", node="--")
    ACTIONS[step.do](sim, **args)
    sim.connect()


def rest(sim: HaCluster, seconds: float) -> None:
    """No faults any more; a person vouches for what no machine can prove."""
    calm(sim)
    _power_on_coordinators(sim)
    sim.run(seconds, QUIET)
    if not sim.net.quorum():  # a fence that began before may have taken the node that was one too many
        _power_on_coordinators(sim)
        sim.run(seconds, QUIET)
    for name in sim.names:
        if not sim.nodes[name].up:
            vouch(sim, name)
    sim.run(VOUCH_S, QUIET)
    sim.checks.at_rest()


def _power_on_coordinators(sim: HaCluster) -> None:
    """Without a store nothing is recovered at all."""
    for name in sim.coordinators:
        if not sim.net.quorum() or not sim.nodes[name].power:
            sim.nodes[name].power_on(5.0)


def judge(scenario: Scenario, sim: HaCluster) -> None:
    log, at = sim.log.lines, 0
    for pattern in scenario.expect:
        found = next((index for index in range(at, len(log)) if re.search(pattern, log[index])), None)
        sim.checks.demand(found is not None, f"{scenario.name}: the log does not show {pattern!r} after line {at}")
        at = (found or 0) + 1
    for pattern in scenario.refuse:
        shown = [line for line in log if re.search(pattern, line)]
        sim.checks.demand(not shown, f"{scenario.name}: the log shows {shown[:1]}")
    if scenario.starts is not None:
        sim.checks.demand(sim.world.starts == scenario.starts, f"{scenario.name}: {sim.world.starts} starts")
    for vm, node in scenario.where.items():
        found_on = sim.where(vm)
        sim.checks.demand(found_on == ([node] if node else []), f"{scenario.name}: {vm} executes on {found_on}")
