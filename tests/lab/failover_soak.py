"""Random faults on a lab of real nodes, one after the other, and what came of each: `script/soak --rounds N --seed S`.

A seed gives the same faults in the same order; what the machine makes of them is its own.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Sequence

from lab import LabError
from tests.lab.failover import Rig
from tests.lab.failover_faults import FAULTS, Came, Fault, play
from tests.lab_fixture import RunningLab

HEAD = ("round", "fault", "node", "elsewhere s", "round s", "doubles", "")
ROW = "{:>5}  {:<47}  {:<5}  {:>11}  {:>7}  {:>7}  {}"


def main(argv: Sequence[str] | None = None) -> int:
    """0 when no guest executed twice or was lost in any round, else 1."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, choices=(3, 5), default=3, help="nodes of the lab")
    parser.add_argument("--guests", type=int, default=3)
    parser.add_argument("--only", default="", help="only faults whose name contains this")
    parser.add_argument("--lab", default="", help="a lab that is up, instead of one of its own; it stays up")
    options = parser.parse_args(argv)
    lab = RunningLab(options.lab or f"soak{os.getpid()}", nodes=options.size)
    failed = 0
    try:
        rig = Rig(lab, options.guests)
        _say(ROW.format(*HEAD))
        for number, fault in enumerate(_story(options.rounds, options.seed, options.size, options.only), 1):
            failed += not _round(rig, number, fault)
        rig.close()
    finally:
        if not options.lab:
            lab.down()
    _say(f"{options.rounds} rounds, seed {options.seed}: {failed} wrong, load {os.getloadavg()[0]:.0f}")
    return 1 if failed else 0


def _story(rounds: int, seed: int, nodes: int, only: str) -> list[Fault]:
    """Each fault once before any comes again."""
    chance, story = random.Random(seed), list[Fault]()
    can = [fault for fault in FAULTS if fault.nodes <= nodes and only in fault.name]
    while len(story) < rounds:
        story += chance.sample(can, len(can))
    return story[:rounds]


def _round(rig: Rig, number: int, fault: Fault) -> bool:
    began_s = time.monotonic()
    try:
        came = play(rig, fault)
    except (AssertionError, LabError) as error:
        took_s = time.monotonic() - began_s
        came = Came(fault.name, "", None, took_s, list(rig.watch.found), [*rig.notes, f"WRONG: {error}"])
        _tell(number, came)
        rig.watch.found.clear()
        return False
    _tell(number, came)
    return not came.doubles


def _tell(number: int, came: Came) -> None:
    elsewhere = "-" if came.elsewhere_s is None else f"{came.elsewhere_s:.1f}"
    words = "; ".join((*came.notes, *came.doubles))
    _say(ROW.format(number, came.fault, came.node, elsewhere, f"{came.took_s:.0f}", len(came.doubles), words))


def _say(line: str) -> None:
    sys.stdout.write(f"{line.rstrip()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
