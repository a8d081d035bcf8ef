"""How long a node's flush, and its becoming ready again, takes with 1, 2 and 4 migrations at once.

A real lab of three nodes; the guests boot a small Linux under TCG and count seconds. Each setting is written to the
nodes' pvc.yaml, the daemons are restarted, and the node is flushed and refilled in turn, so that all see the same
machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.tools.figures import Spread, begin, say, table
from lab import control, guests, node, up
from lab.api import Api, ApiError
from lab.state import Lab, Plan

NODES = ("hv1", "hv2", "hv3")
LIMIT_S = 900.0
DEFAULT = 2
"""Of cluster.parallel_migrations: what the new lab has."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guests", type=int, default=10)
    parser.add_argument("--parallel", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    begin("bench.flush", argv)
    lab = Lab(f"bench-flush-{os.getpid()}"[:20].rstrip("-"))
    plan = Plan(name=lab.name, nodes=list(NODES), store="zookeeper")
    try:
        up.bring_up(lab, plan, lambda _: None)
        api = up.api_of(lab)
        _make_guests(api, options.guests)
        taken: dict[int, tuple[list[float], list[float]]] = {number: ([], []) for number in options.parallel}
        now = DEFAULT
        for _ in range(options.rounds):
            for number, (away, back) in taken.items():
                if number != now:
                    _set_parallel(lab, api, number)
                now = number
                away.append(_ask(api, "flush", "flushed"))
                back.append(_ask(api, "ready", "ready"))
                load = os.getloadavg()[0]
                say(f"{number} at once: flushed in {away[-1]:.1f} s, ready in {back[-1]:.1f} s (load {load:.1f})")
    finally:
        up.take_down(lab)
    _print(options.guests, taken)
    return 0


def _make_guests(api: Api, count: int) -> None:
    wishes = [guests.Wish(name=f"guest{number}", node="hv1") for number in range(count)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda wish: guests.make_guest(api, wish, say=lambda _: None), wishes))
    say(f"{count} guests count seconds on hv1")


def _set_parallel(lab: Lab, api: Api, number: int) -> None:
    edit = ["-e", "/^ *parallel_migrations:/d", "-e", rf"s/^\( *\)coordinators:/\1parallel_migrations: {number}\n&/"]
    for name in NODES:
        init = lab.needs(name)
        node.run_inside(init, ["sed", "-i", *edit, "/etc/pvc/pvc.yaml"], "setting parallel_migrations")
        node.run_inside(init, ["grep", "-q", f"parallel_migrations: {number}", "/etc/pvc/pvc.yaml"], "reading it")
        control.ask(init, "stop", unit="pvcnoded")
        control.ask(init, "start", unit="pvcnoded")
    _until(api, lambda: all(one["daemon_state"] == "run" for one in api.get("/node")))
    _until(api, lambda: any(one["coordinator_state"] == "primary" for one in api.get("/node")))
    time.sleep(5.0)  # whoever was woken by the restarts has looked


def _ask(api: Api, state: str, end: str) -> float:
    """Seconds until the node is in state `end`, every guest being where it then belongs."""
    began_s = time.monotonic()
    api.post("/node/hv1/domain-state", state=state)
    _until(api, lambda: api.get("/node/hv1")[0]["domain_state"] == end)
    taken_s = time.monotonic() - began_s
    there = {vm["node"] for vm in api.get("/vm")}
    if ("hv1" in there) is (end == "flushed"):
        raise RuntimeError(f"hv1 says {end} and the guests are on {', '.join(sorted(there))}")
    return taken_s


def _until(api: Api, true: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + LIMIT_S
    while True:
        try:
            if true():
                return
        except ApiError:
            pass  # the API moves with the primary
        if time.monotonic() > ends_s:
            raise RuntimeError(f"not within {LIMIT_S:.0f} s; nodes: {api.get('/node')}")
        time.sleep(0.05)


def _print(count: int, taken: dict[int, tuple[list[float], list[float]]]) -> None:
    rows = []
    base = Spread.of(next(iter(taken.values()))[0]).p50
    for number, (away, back) in taken.items():
        one, other = Spread.of(away), Spread.of(back)
        rows.append([f"{number} at once", f"{one.p50:.1f}", f"{max(away):.1f}", f"{other.p50:.1f}", f"{max(back):.1f}",
                     f"{one.p50 / base:.2f}"])  # fmt: skip
    head = (f"{count} guests, seconds", "flush p50", "worst", "ready p50", "worst", "flush, ratio p50")
    table(head, rows)


if __name__ == "__main__":
    sys.exit(main())
