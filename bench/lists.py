"""How long `GET /api/v1/vm` takes over HTTP on loopback with many VMs, how often the store is read for it, and how
long a pvcapid needs from its launch to the first such answer.

A real pvcapid on a real pvcstored that was filled with records; no node runs. All VMs run on 20 nodes and have
statistics, so that every field of the answer is full. One client on one connection, one request after the other.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.tools.client import Client
from bench.tools.figures import Spread, begin, machine, say, table
from bench.tools.records import fill, name, renew_stats
from bench.tools.servers import Relay, Servers, busy_s, proportional_kib, servers
from pvc_core.cluster import layout

GOAL_MS = {1000: 20.0, 10_000: 250.0}
YARDSTICK = (
    "PVC 1.0, 1,000 VMs: 9,797 ms and 23,001 requests to ZooKeeper (its own code, measured on this kind of machine)"
)
STARTS = 5
SETTLE_S = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vms", type=int, nargs="+", default=[0, 1000, 10_000])
    parser.add_argument("--calls", type=int, default=100, help="calls per figure")
    options = parser.parse_args(argv)
    begin("bench.lists", argv)
    found = []
    for count in options.vms:
        with tempfile.TemporaryDirectory() as place, servers(Path(place)) as running:
            found.append(_measure(running, count, options.calls))
    _print_starts(found)
    _print_lists([figures for figures in found if figures.count])
    return 0


@dataclass(frozen=True)
class Asked:
    ms: Spread
    busy_ms: float
    """Processor time of pvcapid per call, what it does for the change between calls included."""
    size_bytes: int


@dataclass(frozen=True)
class Figures:
    count: int
    first_answer_s: list[float]
    first_answer_busy_s: list[float]
    pss_kib: int
    calls: dict[str, Asked]
    """By what was asked."""
    store_requests: int


def _measure(running: Servers, count: int, calls: int) -> Figures:
    began_s = time.monotonic()
    uuids = fill(running.repository, count)
    say(f"{count} VMs: the store was filled in {time.monotonic() - began_s:.1f} s")
    starts = [_start(running, count) for _ in range(STARTS)]
    process, port = running.start_api()
    client = Client(port, running.key)
    client.first_list(count)
    figures = {
        what: _often(client, process.pid, path, calls, before) for what, path, before in _questions(running, uuids)
    }
    pss_kib = proportional_kib(process.pid)
    running.stop(process)
    took_s, busy = zip(*starts, strict=True)
    return Figures(count, list(took_s), list(busy), pss_kib, figures, _store_requests(running, count, calls))


def _start(running: Servers, count: int) -> tuple[float, float]:
    """(seconds, seconds of processor time) from the launch of a pvcapid to its first whole list."""
    began_s = time.monotonic()
    process, port = running.start_api()
    Client(port, running.key).first_list(count)
    took_s, busy = time.monotonic() - began_s, busy_s(process.pid)
    running.stop(process)
    return took_s, busy


def _questions(running: Servers, uuids: list[str]) -> list[tuple[str, str, Callable[[], None]]]:
    if not uuids:
        return []
    return [
        ("GET / (the floor: the same way, nothing to tell)", "/", _nothing),
        ("GET /vm, nothing changed between", "/vm", _nothing),
        ("GET /vm, one VM changed between", "/vm", lambda: _touch(running, uuids[0])),
        ("GET /vm, all statistics changed between", "/vm", lambda: _renew(running, uuids)),
        ("GET /vm?tag=web (all of them)", "/vm?tag=web", _nothing),
        ("GET /vm/NAME", f"/vm/{name(0)}", _nothing),
    ]


def _often(client: Client, pid: int, path: str, calls: int, before: Callable[[], None]) -> Asked:
    count = calls if before is _nothing else max(3, calls // 10)
    taken, size = [], len(_get(client, path))  # the first one warms up
    began_busy_s = busy_s(pid)
    for _ in range(count):
        before()
        began_s = time.perf_counter()
        size = len(_get(client, path))
        taken.append((time.perf_counter() - began_s) * 1000)
    return Asked(Spread.of(taken), (busy_s(pid) - began_busy_s) * 1000 / count, size)


def _get(client: Client, path: str) -> bytes:
    status, body = client.get(path)
    if status != 200:
        raise RuntimeError(f"GET {path}: {status} {body[:300]!r}")
    return body


def _nothing() -> None: ...


def _touch(running: Servers, uuid: str) -> None:
    kept = running.repository.get(layout.VM_SEEN, uuid)
    seen = replace(kept.value, sentence=f"running, looked at {kept.version} times")
    running.repository.set(layout.VM_SEEN, uuid, seen, if_version=kept.version)
    time.sleep(SETTLE_S)


def _renew(running: Servers, uuids: list[str]) -> None:
    renew_stats(running.repository, uuids)
    time.sleep(SETTLE_S)


def _store_requests(running: Servers, count: int, calls: int) -> int:
    """What a second pvcapid asks of the store during `calls` lists."""
    relay = Relay(running.store_port)
    process, port = running.start_api(store_port=relay.port)
    client = Client(port, running.key)
    client.first_list(count)
    time.sleep(SETTLE_S)
    before = relay.requests
    if not before:
        raise RuntimeError("the relay counted nothing while pvcapid read the store: its count means nothing")
    for _ in range(calls):
        client.get("/vm")
    asked = relay.requests - before
    running.stop(process)
    relay.close()
    return asked


def _print_starts(found: list[Figures]) -> None:
    rows = []
    for figures in found:
        took_s, busy = Spread.of(figures.first_answer_s), Spread.of(figures.first_answer_busy_s)
        rows.append([f"{figures.count} VMs", *took_s.cells(2)[:2], f"{busy.p50:.2f}", f"{figures.pss_kib / 1024:.0f}"])
    head = ("pvcapid: launch to the first whole list", "p50 s", "worst s", "CPU p50 s", "PSS after the calls, MiB")
    table(head, rows)


def _print_lists(found: list[Figures]) -> None:
    for figures in found:
        rows = [
            [what, *asked.ms.cells(), f"{asked.busy_ms:.1f}", f"{asked.size_bytes / 1000:.0f}", asked.ms.count]
            for what, asked in figures.calls.items()
        ]
        table((f"{figures.count} VMs, ms", "p50", "p95", "p99", "CPU a call", "kB", "calls"), rows)
        p50 = figures.calls["GET /vm, nothing changed between"].ms.p50
        goal_ms = GOAL_MS.get(figures.count)
        goal = f"; goal: {goal_ms:.0f} ms" if goal_ms else ""
        say(f"{figures.count} VMs: p50 {p50:.1f} ms{goal}. Requests to the store: {figures.store_requests}; goal: 0")
    say(f"{YARDSTICK}. {machine()}")


if __name__ == "__main__":
    sys.exit(main())
