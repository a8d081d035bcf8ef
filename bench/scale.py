"""Many nodes and many VMs on one ZooKeeper: how soon a write on one node is seen by all others, what the nodes cost,
and how a restart of ZooKeeper is survived; and how long the API's lists take on such a cluster.

Light nodes: processes with all of pvcnoded's and pvcguard's logic and real clients of a real ZooKeeper server, on
hypervisors in memory (bench/tools/light_node.py). All on one machine, so processor figures are what counts. The VMs are
really defined, placed and started by the nodes themselves.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.tools.client import Client
from bench.tools.figures import Spread, begin, machine, say, table
from bench.tools.light import Light, Report, light
from bench.tools.servers import Relay

SEEN_GOAL_MS, CURRENT_GOAL_S, LIMIT_S = 100.0, 10.0, 8.0
SETTLE_S, OVER_S = 15.0, 30.0
RESTART = "restart"
YARDSTICK = (
    "PVC 1.0 with 1,000 VMs and 12 nodes on such a machine: GET /vm 9.8 s and 23,001 requests to ZooKeeper, "
    "/status 1.8 s and 4,799, /node 0.76 s and 1,781"
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--vms", type=int, default=2000)
    parser.add_argument("--api-nodes", type=int, default=12)
    parser.add_argument("--api-vms", type=int, default=1000)
    parser.add_argument("--writes", type=int, default=100)
    parser.add_argument("--over", type=float, default=OVER_S, help="seconds over which processor time is taken")
    parser.add_argument("--settle", type=float, default=SETTLE_S, help="seconds of rest before each measurement")
    parser.add_argument("--keep", metavar="DIR", help="work here and leave the logs")
    options = parser.parse_args(argv)
    begin("bench.scale", argv)
    with (
        tempfile.TemporaryDirectory() as place,
        light(_place(options.keep or place, "nodes"), options.nodes) as cluster,
    ):
        _nodes(cluster, options)
    with (
        tempfile.TemporaryDirectory() as place,
        light(_place(options.keep or place, "api"), options.api_nodes) as cluster,
    ):
        _api(cluster, options.api_vms, options.settle)
    say(machine())
    return 0


def _place(parent: str, name: str) -> Path:
    place = Path(parent) / name
    place.mkdir(parents=True)
    return place


def _nodes(cluster: Light, options: argparse.Namespace) -> None:
    vms, writes = options.vms, options.writes
    cluster.begin()
    took_s = cluster.fill(vms)
    nodes = len(cluster.nodes)
    say(f"{nodes} nodes: {vms} VMs were defined, placed and started in {took_s:.1f} s, {vms / took_s:.0f} a second")
    time.sleep(options.settle)
    _costs(cluster, options.over)
    for number in range(writes):
        cluster.mark(f"write-{number}")
        time.sleep(0.1)
    time.sleep(1.0)
    down_s = _restart(cluster, options.settle)
    reports = cluster.end()
    _print_seen(reports, writes)
    _print_restart(reports, down_s)


def _costs(cluster: Light, over_s: float) -> None:
    packets, transactions = cluster.zookeeper.counted()
    began_s = time.monotonic()
    costs = cluster.costs(over_s)
    took_s, (packets_then, transactions_then) = time.monotonic() - began_s, cluster.zookeeper.counted()
    busy = Spread.of(100 * cost.busy_share for cost in costs.values())
    pss = Spread.of(cost.pss_mib for cost in costs.values())
    table(
        ("at rest, by node (pvcnoded and pvcguard in one process)", "p50", "p95", "worst"),
        [["processor, % of a core", *busy.cells(2)], ["PSS, MiB", *pss.cells(0)]],
    )
    writes = (transactions_then - transactions) / took_s / len(cluster.nodes)
    requests = (packets_then - packets) / took_s
    say(
        f"ZooKeeper: {requests:.0f} packets a second ({requests / len(cluster.nodes):.1f} a node, pings included), "
        f"{writes:.2f} writes a node and second. Goals: 2 writes, 100 MB, 2 % of a core"
    )


def _restart(cluster: Light, settle_s: float) -> float:
    """Kill ZooKeeper, start it again; seconds from the kill until it listens."""
    began_s = time.monotonic()
    cluster.zookeeper.kill()
    cluster.zookeeper.start()
    back_s = time.monotonic()
    cluster.mark(RESTART, back_s)
    time.sleep(settle_s)
    return back_s - began_s


def _print_seen(reports: dict[str, Report], writes: int) -> None:
    labels = [f"write-{number}" for number in range(writes)]
    each = [1000 * report.seen[label] for report in reports.values() for label in labels if label in report.seen]
    last = [1000 * max(report.seen[label] for report in reports.values()) for label in labels if _all(reports, label)]
    missed = len(reports) * writes - len(each)
    rows = [["by one other node", *Spread.of(each).cells()], ["by all", *Spread.of(last).cells()]]
    table((f"a write is seen, ms after it was sent; {len(reports)} nodes", "p50", "p95", "p99"), rows)
    never = f"Never seen: {missed} of {len(reports) * writes} (a picture skips what came between)"
    say(f"goal: p99 {SEEN_GOAL_MS:.0f} ms. {never}")


def _all(reports: dict[str, Report], label: str) -> bool:
    return all(label in report.seen for report in reports.values())


def _print_restart(reports: dict[str, Report], down_s: float) -> None:
    current = [report.seen[RESTART] for report in reports.values() if RESTART in report.seen]
    behind = len(reports) - len(current)
    late = Spread.of(report.late_s for report in reports.values())
    say(
        f"ZooKeeper killed and started again ({down_s:.1f} s until it listens): every view current "
        f"{max(current):.1f} s later (p50 {Spread.of(current).p50:.1f} s; not current: {behind} nodes); "
        f"goal {CURRENT_GOAL_S:.0f} s"
    )
    say(
        f"oldest accepted heartbeat of a node in all of that: p50 {late.p50:.1f} s, "
        f"worst {max(report.late_s for report in reports.values()):.1f} s; deadline {LIMIT_S:.0f} s"
    )


def _api(cluster: Light, vms: int, settle_s: float) -> None:
    cluster.begin()
    cluster.fill(vms)
    time.sleep(settle_s)
    key = cluster.new_key()
    relay = Relay(cluster.zookeeper.port)
    _, port = cluster.api(store_port=relay.port)
    client = Client(port, key)
    client.first_list(vms)
    rows = []
    for path in ("/vm", "/status", "/node"):
        asked, taken = relay.requests, []
        for _ in range(50):
            began_s = time.perf_counter()
            status, body = client.get(path)
            taken.append((time.perf_counter() - began_s) * 1000)
            if status != 200:
                raise RuntimeError(f"GET {path}: {status} {body[:300]!r}")
        rows.append([f"GET {path}", *Spread.of(taken).cells(), relay.requests - asked, len(body) // 1000])
    head = (
        f"{vms} VMs on {len(cluster.nodes)} nodes at work, ms",
        "p50",
        "p95",
        "p99",
        "store requests of 50 calls",
        "kB",
    )
    table(head, rows)
    say(YARDSTICK)
    relay.close()


if __name__ == "__main__":
    sys.exit(main())
