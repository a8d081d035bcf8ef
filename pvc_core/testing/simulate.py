# SPDX-License-Identifier: LGPL-3.0-or-later
"""pvc-simulate: play a scenario, or stories by seed, and say what happened. What a scenario is: sim_scenario.py; what
can happen in one: sim_actions.py.
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from pvc_core.errors import Invalid, PvcError
from pvc_core.testing.sim_actions import ACTIONS
from pvc_core.testing.sim_ha_story import shrunk, story, wrong
from pvc_core.testing.sim_scenario import Scenario, play
from pvc_core.testing.sim_text import dump, load

TELL_EVERY = 250
EPILOG = """a scenario:

    name: a hypervisor loses its power, and its controller with it
    setting: {nodes: 3, proof: one}
    vms: [web, db]
    steps:
      - {at: 5, do: power_off, node: "@web", with_bmc: true}
      - {at: 60, do: must_stand_still, vm: web}
      - {at: 61, do: vouch, node: hv1}
    expect: ["is given up", "running on"]

Times are seconds after all VMs run. Instead of `at` a step may say `once: "is given up"`, as soon as the log has shown
such a line since the step before, or `before: "starting the guest"`, when a node is about to ask a driver for that. A
node is named (hv1), or is "@primary", "@free" (not primary), "@here" (where such a moment came) or "@VM" (where that VM
executes). `expect` is what the log must show, in this order. `pvc-simulate --actions` lists what can happen;
docs/simulator.md tells more. It ends with 0 when all was as it must be, 1 when something was not, 2 for a file that is
no scenario.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all that must be true was, 1 when something was not, 2 for a scenario that cannot be read."""
    parser = argparse.ArgumentParser(
        prog="pvc-simulate",
        description="A simulated PVC cluster: its real decisions, faults as you write them or as seeds make them up.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="*", type=Path, help="scenarios to play (YAML); their log is printed")
    parser.add_argument("-q", "--quiet", action="store_true", help="of a scenario print only how it ended")
    parser.add_argument("--actions", action="store_true", help="list what can happen in a scenario")
    parser.add_argument("--seeds", type=_whole(1), default=0, metavar="N", help="play N stories that seeds make up")
    parser.add_argument("--first", type=_whole(0), default=0, metavar="SEED", help="the first seed [0]")
    parser.add_argument(
        "--jobs", type=_whole(1), default=os.cpu_count() or 1, metavar="N", help="how many at once [one per processor]"
    )
    parser.add_argument("--proof", choices=("one", "all"), help="fencing.proof of all stories [by seed]")
    parser.add_argument(
        "--cross-wired", action="store_true",
        help="one controller leads to another machine under the right name: what nobody can see through",
    )  # fmt: skip
    options = parser.parse_args(argv)
    if not options.scenario and not options.seeds and not options.actions:
        parser.error("nothing to play: name a scenario, or give --seeds N")
    if options.actions:
        _say("\n".join(_actions()))
    try:
        bad = sum([_show(path, quiet=options.quiet) for path in options.scenario])
    except PvcError as error:
        print(f"pvc-simulate: {error}", file=sys.stderr)  # noqa: T201  # for who typed the command
        return 2
    if options.seeds:
        bad += _many(options)
    return 1 if bad else 0


def _whole(low: int) -> partial[int]:
    return partial(_at_least, low)


def _at_least(low: int, text: str) -> int:
    if not text.isdecimal() or int(text) < low:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of {low} or more")
    return int(text)


def _actions() -> Iterator[str]:
    """Each with what it takes, and its first sentence."""
    for name, call in ACTIONS.items():
        given = list(inspect.signature(call).parameters.values())[1:]
        takes = ", ".join(one.name if one.default is one.empty else f"[{one.name}={one.default}]" for one in given)
        what = (call.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")
        yield f"{name}: {takes}" + (f"\n    {what}" if what else "")


def _show(path: Path, *, quiet: bool) -> bool:
    try:
        scenario = load(path.read_text())
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", help="name a file in YAML") from None
    except UnicodeDecodeError:
        raise Invalid(f"{path} is no text", help="a scenario is a file in YAML") from None
    except PvcError as error:
        raise Invalid(f"{path}: {error.message}", help=error.help) from None
    try:
        sim = play(scenario)
    except AssertionError as error:
        _say(f"{path}: {scenario.name}: NOT AS IT MUST BE\n{error}")
        return True
    if not quiet:
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
            if done % TELL_EVERY == 0 or done == options.seeds:
                _say(progress(seeds[:done], simulated_s, failed, time.monotonic() - began_s))
    known = options.cross_wired and options.proof == "one"
    if known:
        _say(f"known limit: with `proof: one` a controller wired to another machine made {failed} guests run twice")
    return 0 if known else failed


def progress(seeds: range, simulated_s: float, failed: int, took_s: float) -> str:
    """Whoever must stop here goes on with the next seed as --first."""
    minutes, hours = max(took_s, 0.001) / 60, simulated_s / 3600
    return (
        f"seeds {seeds[0]} to {seeds[-1]}: {len(seeds)} seeds, {hours:.1f} simulated hours, {failed} violations; "
        f"{len(seeds) / minutes:.0f} seeds and {hours / minutes:.1f} simulated hours a minute"
    )


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
