"""What PVC's daemons cost in memory, with 0 and with many VMs that are defined and off; and how fast they are defined.

In a lab of its own. PSS: private pages, and of shared ones the share; Python's own pages are shared by all daemons.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from bench.tools.figures import Spread, begin, say, table
from bench.tools.labs import BenchLab, bench_lab
from bench.tools.records import definition
from bench.tools.servers import proportional_kib

DAEMONS = ("pvcnoded", "pvcapid", "pvcguard", "pvcstored")
SETTLED_S = 120.0
YARDSTICK = "Ganeti with 1,000 instances: master 379 MB, each further node 36 MB (measured on this kind of machine)"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vms", type=int, default=1000)
    options = parser.parse_args(argv)
    begin("bench.memory", argv)
    with bench_lab("memory") as lab:
        lab.api.get("/vm")
        time.sleep(3.0)  # statistics, health and the first resync have come round
        columns = {"0 VMs": _memory(lab)}
        taken_ms = _define(lab, options.vms)
        columns["just defined"] = _memory(lab)
        _await_placed(lab, options.vms)
        for _ in range(3):
            lab.api.get("/vm")
        columns[f"{options.vms} VMs, listed"] = _memory(lab)
        lab.restart(*DAEMONS)
        _await_placed(lab, options.vms)
        time.sleep(3.0)
        columns["the same after a restart"] = _memory(lab)
    _print(columns)
    spread = Spread.of(taken_ms)
    say(f"POST /vm, one after the other: p50 {spread.p50:.1f} ms, p95 {spread.p95:.1f} ms, p99 {spread.p99:.1f} ms")
    return 0


def _memory(lab: BenchLab) -> dict[str, float]:
    """MiB by daemon."""
    pids = lab.pids()
    return {daemon: proportional_kib(pids[daemon]) / 1024 for daemon in DAEMONS}


def _define(lab: BenchLab, count: int) -> list[float]:
    """Of usual size, but without disks: a volume would have to be made for each. Returns milliseconds per VM."""
    where = urlsplit(lab.api.url)
    line = HTTPConnection(where.netloc, timeout=60)
    head = {"X-Api-Key": lab.api.key, "Content-Type": "application/x-www-form-urlencoded"}
    taken = []
    for number in range(count):
        xml = re.sub(r" *<disk.*</disk>\n", "", definition(number, str(uuid4())), flags=re.DOTALL)
        body = urlencode({"xml": xml, "selector": "mem", "autostart": "false"})
        began_s = time.perf_counter()
        line.request("POST", f"{where.path}/vm", body=body, headers=head)
        answer = line.getresponse()
        content = answer.read()
        taken.append((time.perf_counter() - began_s) * 1000)
        if answer.status >= 300:
            raise RuntimeError(f"POST /vm: {answer.status} {content.decode()}")
    line.close()
    return taken


def _await_placed(lab: BenchLab, count: int) -> None:
    """Every VM has a node that has looked at it."""
    ends_s = time.monotonic() + SETTLED_S
    while _count(lab, lambda vm: bool(vm["node"]) and vm["status"] == "off") < count:
        if time.monotonic() > ends_s:
            raise RuntimeError(f"not all VMs were placed and looked at within {SETTLED_S:.0f} s")
        time.sleep(0.5)


def _count(lab: BenchLab, true: Callable[[dict[str, object]], bool]) -> int:
    return sum(true(vm) for vm in lab.api.get("/vm"))


def _print(columns: dict[str, dict[str, float]]) -> None:
    rows = [[daemon, *(f"{column[daemon]:.1f}" for column in columns.values())] for daemon in DAEMONS]
    rows.append(["together", *(f"{sum(column.values()):.1f}" for column in columns.values())])
    table(("PSS, MiB", *columns), rows)
    say(YARDSTICK)


if __name__ == "__main__":
    sys.exit(main())
