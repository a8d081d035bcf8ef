"""How long a guest is away when its node loses its power: until it executes elsewhere, and where the seconds go.

A real lab of three nodes, ZooKeeper, BMCs that speak IPMI. `--fence power`: the pool is a directory that all share, so
only power read off lets a guest go. `--fence storage`: the pool is on a real Ceph whose daemons run on the same
nodes, and the management controller dies with its node, so only storage_ceph can. Execution is read off the kernel
(tests/lab/doubles.py), the steps off the nodes' logs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from bench.tools.failover_story import STEPS, moments
from bench.tools.figures import Spread, begin, say, table
from lab.state import Lab
from tests.lab.failover import Rig
from tests.lab_fixture import RunningLab

PROFILES = {"default": "", "fast": "{profile: fast}"}
GOALS_S = {"default": 30.0, "fast": 15.0}
EXECUTES = "executes"
UNITS = ("pvcguard", "pvcnoded")


@dataclass(frozen=True)
class Loss:
    """Seconds from the loss of power: until the last guest executed elsewhere, and until each step."""

    whom: str
    executes_s: float
    steps: dict[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fence", choices=("power", "storage"), default="power", help="what proves the loss")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--guests", type=int, default=1, help="on the node that is lost")
    parser.add_argument("--profiles", nargs="+", choices=tuple(PROFILES), default=list(PROFILES))
    parser.add_argument(
        "--primary", action="store_true", help="the node that is lost is the primary, not one that leads nothing"
    )
    options = parser.parse_args(argv)
    begin("bench.failover", argv)
    by_storage = options.fence == "storage"
    name = f"bench-failover-{os.getpid()}"[:20].rstrip("-")
    lab = RunningLab(name, nodes=3, storage="ceph" if by_storage else "dir")
    try:
        rig = Rig(lab, options.guests)
        for profile in options.profiles:
            _set(rig, profile)
            losses = [_lose(rig, primary=options.primary, with_bmc=by_storage) for _ in range(options.rounds)]
            whom = "the primary" if options.primary else "a node that leads nothing"
            _print(profile, f"{options.fence} fence, {whom}", losses)
        rig.close()
    finally:
        lab.down()
    return 0


def _set(rig: Rig, profile: str) -> None:
    """Write the intervals into every node's pvc.yaml and let its daemons read them."""
    for node in rig.lab.nodes:
        path = rig.lab.root_of(node) / "etc/pvc/pvc.yaml"
        lines = [line for line in path.read_text().splitlines() if not line.startswith("intervals:")]
        if PROFILES[profile]:
            lines.append(f"intervals: {PROFILES[profile]}")
        path.write_text("\n".join(lines) + "\n")
        for unit in UNITS:
            rig.lab.stop(node, unit)
            rig.lab.start(node, unit)
    rig.whole()
    time.sleep(5.0)  # what the restarts woke has settled


def _lose(rig: Rig, *, primary: bool, with_bmc: bool) -> Loss:
    node = _gather(rig, primary=primary)
    names = rig.guests_on(node)
    rig.elsewhere_s = None
    if with_bmc:  # a moment before, so that no second of the loss is spent on it
        rig.lab.bmc(node, "dead")
    rig.strike(lambda: rig.lab.power_off(node))
    rig.run_elsewhere(names, node)
    rig.until(lambda: all(rig.vm(name)["status"].startswith("running") for name in names), "they are said to run")
    logs = Lab(rig.lab.name).root.glob("nodes/*/var/log/pvc/pvc[ng]*.service.log")
    steps = {
        step: at_s - rig.struck_wall_s for step, at_s in moments(logs, node, len(names), rig.struck_wall_s).items()
    }
    rig.repair()
    rig.whole()
    loss = Loss(node, rig.elsewhere_s or 0.0, steps)
    told = ", ".join(f"{step} {at_s:.1f}" for step, at_s in steps.items())
    say(f"{node} lost: executes elsewhere after {loss.executes_s:.1f} s ({told}); load {os.getloadavg()[0]:.0f}")
    return loss


def _gather(rig: Rig, *, primary: bool) -> str:
    """All guests on one node: the primary, or one that leads nothing. Returns the node."""
    first = rig.primary()
    others = [name for name in rig.lab.nodes if name not in (first, rig.store_leader())]
    node = first if primary else max(others, key=lambda name: len(rig.guests_on(name)))
    for name in rig.uuids:
        if rig.vm(name)["node"] != node:
            rig.lab.api.post(f"/vm/{name}/node", action="move", node=node)
            rig.until(partial(_is_on, rig, name, node), f"{name} is on {node}")
    rig.whole()
    return node


def _is_on(rig: Rig, name: str, node: str) -> bool:
    return bool(rig.vm(name)["status"] == f"running on {node}")


def _print(profile: str, whom: str, losses: Sequence[Loss]) -> None:
    rows, before = [], dict.fromkeys(range(len(losses)), 0.0)
    for step in STEPS:
        known = {n: loss.steps[step] for n, loss in enumerate(losses) if step in loss.steps}
        if not known:
            continue
        since = Spread.of(at_s - before[n] for n, at_s in known.items())
        rows.append([step, *Spread.of(known.values()).cells()[:2], *since.cells()[:2]])
        before |= known
    whole = Spread.of(loss.executes_s for loss in losses)
    rows.append([EXECUTES, *whole.cells()[:2], "", ""])
    table((f"{profile}: {whom} lost, seconds", "after p50", "p95", "step p50", "p95"), rows)
    found = f"p50 {whole.p50:.1f} s, p95 {whole.p95:.1f} s"
    say(f"{len(losses)} rounds. Executes elsewhere: {found}; goal {GOALS_S[profile]:.0f} s p95.")


if __name__ == "__main__":
    sys.exit(main())
