# SPDX-License-Identifier: LGPL-3.0-or-later
"""pvc-simulate: play a scenario, or stories by seed, and say what happened. What a scenario is: sim_scenario.py."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from pvc_core.errors import PvcError
from pvc_core.testing.sim_ha_story import shrunk, story, wrong
from pvc_core.testing.sim_scenario import Scenario, dump, load, play


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all that must be true was, 1 when something was not, 2 for a scenario that cannot be read."""
    parser = argparse.ArgumentParser(
        prog="pvc-simulate", description="A simulated PVC cluster: its real decisions, faults as you write them."
    )
    parser.add_argument("scenario", nargs="*", type=Path, help="scenarios to play (YAML); their log is printed")
    parser.add_argument("--seeds", type=int, default=0, help="play so many stories that seeds make up")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("--proof", choices=("one", "all"), help="fencing.proof of all stories (default: by seed)")
    parser.add_argument(
        "--cross-wired", action="store_true",
        help="one controller leads to another machine under the right name: what nobody can see through",
    )  # fmt: skip
    options = parser.parse_args(argv)
    try:
        bad = sum([_show(path) for path in options.scenario])
    except (PvcError, OSError) as error:
        print(f"pvc-simulate: {error}", file=sys.stderr)  # noqa: T201  # for who typed the command
        return 2
    if options.seeds:
        bad += _many(options)
    return 1 if bad else 0


def _show(path: Path) -> bool:
    scenario = load(path.read_text())
    try:
        sim = play(scenario)
    except AssertionError as error:
        _say(f"{path}: NOT AS IT MUST BE\n{error}")
        return True
    _say("\n".join(sim.log.lines))
    _say(f"{path}: {scenario.name}: as it must be")
    return False


def _many(options: argparse.Namespace) -> int:
    """How many seeds broke a promise. With a cross-wired controller and `proof: one` that is the known limit."""
    seeds = range(options.first, options.first + options.seeds)
    began_s, failed, simulated_s = time.monotonic(), 0, 0.0
    with ProcessPoolExecutor(options.jobs) as pool:
        lives = pool.map(partial(lived, liar=options.cross_wired, proof=options.proof), seeds, chunksize=5)
        for done, (seed, seconds, why) in enumerate(lives, start=1):
            simulated_s += seconds
            if why:
                failed += 1
                _tell_failure(story(seed, liar=options.cross_wired, proof=options.proof), why, first=failed == 1)
            if done % 1000 == 0 or done == options.seeds:
                minutes = (time.monotonic() - began_s) / 60
                _say(
                    f"{done} seeds, {failed} broke a promise, {simulated_s / 3600:.1f} simulated hours, "
                    f"{done / minutes:.0f} seeds a minute"
                )
    known = options.cross_wired and options.proof == "one"
    if known:
        _say(f"known limit: with `proof: one` a controller wired to another machine made {failed} guests run twice")
    return 0 if known else failed


def lived(seed: int, *, liar: bool = False, proof: str | None = None) -> tuple[int, float, str]:
    """(seed, simulated seconds, what was wrong)."""
    scenario = story(seed, liar=liar, proof=proof)
    seconds = 29.0 + max((step.at for step in scenario.steps), default=0.0) + scenario.quiet + 40.0
    return seed, seconds, wrong(scenario).partition("\n")[0]


def _tell_failure(scenario: Scenario, why: str, *, first: bool) -> None:
    """The first is made short, so that it can be looked at."""
    _say(f"{scenario.name}: {why}")
    if first:
        _say(dump(shrunk(scenario, lambda less: bool(wrong(less)))))


def _say(text: str | Iterable[str]) -> None:
    print(text, flush=True)  # noqa: T201  # for who typed the command


if __name__ == "__main__":
    sys.exit(main())
