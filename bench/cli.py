"""How long `pvc` takes from its launch to its end: help, and a list from a real pvcapid on loopback.

Beside the interpreter alone, which no Python program can beat, each in turn in every round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.tools.client import Client
from bench.tools.figures import Spread, begin, say, table
from bench.tools.records import fill
from bench.tools.servers import Servers, servers

GOAL_MS = 150.0
HELP, LIST = "pvc --help", "pvc vm list"
PVC = str(Path(sys.prefix) / "bin/pvc")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "pvc --version": [PVC, "--version"],
    HELP: [PVC, "--help"],
    "pvc vm --help": [PVC, "vm", "--help"],
    LIST: [PVC, "vm", "list"],
    "pvc vm list --format json": [PVC, "vm", "list", "--format", "json"],
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vms", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args(argv)
    begin("bench.cli", argv)
    for count in options.vms:
        with tempfile.TemporaryDirectory() as place, servers(Path(place)) as running:
            _print(count, _measure(running, count, options.rounds))
    return 0


def _measure(running: Servers, count: int, rounds: int) -> dict[str, list[float]]:
    fill(running.repository, count)
    port = running.start_api()[1]
    Client(port, running.key).first_list(count)
    words = {"description": "bench", "host": "127.0.0.1", "port": port, "scheme": "http", "api_key": running.key}
    (running.place / "pvc.json").write_text(json.dumps({"bench": words}))
    (running.place / "pvc.json").chmod(0o600)
    env = {**os.environ, "PVC_CLIENT_DIR": str(running.place), "PVC_CONNECTION": "bench"}
    taken: dict[str, list[float]] = {what: [] for what in COMMANDS}
    for number in range(rounds + 1):
        for what, command in COMMANDS.items():
            took_ms = _run(command, env)
            if number:  # the first round fills the page cache and writes byte code
                taken[what].append(took_ms)
    return taken


def _run(command: list[str], env: dict[str, str]) -> float:
    began_s = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began_s) * 1000


def _print(count: int, taken: dict[str, list[float]]) -> None:
    floor = Spread.of(taken["python -c pass"]).p50
    rows = [[what, *Spread.of(times).cells(0), f"{Spread.of(times).p50 / floor:.1f}"] for what, times in taken.items()]
    table((f"{count} VMs, ms", "p50", "p95", "p99", "ratio"), rows)
    say(f"`{HELP}`: p50 {Spread.of(taken[HELP]).p50:.0f} ms; goal: {GOAL_MS:.0f} ms")


if __name__ == "__main__":
    sys.exit(main())
