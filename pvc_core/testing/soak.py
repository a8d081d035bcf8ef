# SPDX-License-Identifier: LGPL-3.0-or-later
"""Many seeds of the simulator: `python -m pvc_core.testing.soak --seeds 10000`. What one seed is, is sim_story.py's."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from pvc_core.testing.sim_story import live


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every seed kept its promises, 1 when one did not (each is named, with what was said before it)."""
    parser = argparse.ArgumentParser(prog="soak", description="Simulated nodes under faults, one history per seed.")
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    options = parser.parse_args(argv)
    seeds = range(options.first, options.first + options.seeds)
    begun, failed, simulated_s = time.monotonic(), 0, 0.0
    with ProcessPoolExecutor(options.jobs) as pool:
        for done, (seconds, wrong) in enumerate(pool.map(lived, seeds, chunksize=10), start=1):
            simulated_s += seconds
            failed += bool(wrong)
            if wrong:
                _say(wrong)
            if done % 1000 == 0:
                _tell(done, failed, simulated_s, time.monotonic() - begun)
    if options.seeds % 1000:
        _tell(options.seeds, failed, simulated_s, time.monotonic() - begun)
    return 1 if failed else 0


def lived(seed: int) -> tuple[float, str]:
    """(simulated seconds, what was wrong)."""
    try:
        return live(seed).clock.boottime_s(), ""
    except AssertionError as error:
        return 0.0, str(error)


def _tell(seeds: int, failed: int, simulated_s: float, took_s: float) -> None:
    hours = simulated_s / 3600
    _say(f"{seeds} seeds, {failed} failed; {60 * seeds / took_s:.0f} seeds/minute, {hours:.0f} simulated hours")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
