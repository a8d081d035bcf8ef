"""How many requests a second one pvcapid answers, and how long each takes, when 1, 8 and 32 clients ask at once.

A real pvcapid on a real pvcstored filled with records (as bench.lists), HTTP on loopback, every client on a connection
that stays open, its next request when the last is answered. The clients are one other process, which wants a processor
of its own: of two cores the API has one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.tools.client import Client
from bench.tools.figures import Spread, begin, machine, say, table
from bench.tools.records import fill, name
from bench.tools.servers import busy_s, proportional_kib, servers


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vms", type=int, default=1000)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=5.0, help="per figure")
    options = parser.parse_args(argv)
    begin("bench.requests", argv)
    questions = ("/", f"/vm/{name(0)}", "/status", "/node", "/vm?page=1&per_page=50&fields=name,state", "/vm")
    with tempfile.TemporaryDirectory() as place, servers(Path(place)) as running:
        fill(running.repository, options.vms)
        process, port = running.start_api()
        Client(port, running.key).first_list(options.vms)
        begun_kib = proportional_kib(process.pid)
        rows = []
        for path in questions:
            for clients in options.clients:
                began_busy_s = busy_s(process.pid)
                found = _asked(port, running.key, path, clients, options.seconds)
                busy_ms = (busy_s(process.pid) - began_busy_s) * 1000 / found.ms.count
                each = [f"{found.ms.count / found.took_s:.0f}", *found.ms.cells()]
                rows.append([f"GET {path}", clients, *each, f"{busy_ms:.2f}", found.ms.count])
        ended_kib = proportional_kib(process.pid)
    head = (f"{options.vms} VMs", "clients", "requests/s", "p50 ms", "p95 ms", "p99 ms", "CPU ms each", "requests")
    table(head, rows)
    say(f"PSS of pvcapid: {begun_kib / 1024:.0f} MiB before, {ended_kib / 1024:.0f} MiB after all of it. {machine()}")
    return 0


@dataclass(frozen=True)
class Asked:
    ms: Spread
    took_s: float


def _asked(port: int, key: str, path: str, clients: int, seconds: float) -> Asked:
    """In a process of its own, so that the clients' work is not the measured process's."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        taken, took_s = pool.apply(_ask, (port, key, path, clients, seconds))
    return Asked(Spread.of(taken), took_s)


def _ask(port: int, key: str, path: str, clients: int, seconds: float) -> tuple[list[float], float]:
    """(ms of each request, seconds in all)."""
    taken: list[list[float]] = [[] for _ in range(clients)]
    together = threading.Barrier(clients + 1)
    threads = [threading.Thread(target=partial(_one, port, key, path, seconds, mine, together)) for mine in taken]
    for thread in threads:
        thread.start()
    together.wait(60)
    began_s = time.perf_counter()
    for thread in threads:
        thread.join()
    return [one for mine in taken for one in mine], time.perf_counter() - began_s


def _one(port: int, key: str, path: str, seconds: float, taken: list[float], together: threading.Barrier) -> None:
    client = Client(port, key)
    client.get(path)  # the first one warms up
    together.wait(60)
    ends_s = time.perf_counter() + seconds
    while (began_s := time.perf_counter()) < ends_s:
        status, _ = client.get(path)
        if status != 200:
            raise RuntimeError(f"GET {path}: {status}")
        taken.append((time.perf_counter() - began_s) * 1000)


if __name__ == "__main__":
    sys.exit(main())
