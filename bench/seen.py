"""How soon a write on one node is seen by all others, in a lab of three real nodes on a real ensemble.

A tag of a VM that is off is set and removed through the API of one coordinator; each coordinator's own pvcapid tells
the change on its stream of events as soon as its picture of the cluster shows it. Who writes goes round. The times
begin when the request is sent, so that they hold the API's work, the commit on three disks and the way back.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from bench.tools.figures import Spread, begin, machine, say, table
from bench.tools.labs import bench_lab
from bench.tools.records import bare_definition, name
from lab import LabError, up
from lab.api import Api

GOAL_MS = 100.0
NODES = ("hv1", "hv2", "hv3")
NAME, UUID = "seen", "5ee00000-0000-4000-8000-000000000001"
REST_S = 0.1
LIMIT_S = 30.0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writes", type=int, default=200)
    options = parser.parse_args(argv)
    begin("bench.seen", argv)
    with bench_lab("seen", nodes=len(NODES)) as lab:
        lab.api.call("POST", "/vm", {}, form={"xml": bare_definition(0, UUID).replace(name(0), NAME)})
        apis = {name: up.api_of(lab.lab, name) for name in NODES}
        _print(_measure(apis, options.writes), options.writes)
    return 0


class _Listener:
    """One coordinator's stream of what happens to VMs."""

    def __init__(self, api: Api) -> None:
        self.at_s: list[float] = []
        """When each change was told (s, CLOCK_MONOTONIC)."""
        self.ready = threading.Event()
        self._api = api
        threading.Thread(target=self._listen, daemon=True).start()

    def await_change(self, number: int) -> float:
        """When the change of that number was told. Raises LabError where it never is."""
        ends_s = time.monotonic() + LIMIT_S
        while len(self.at_s) <= number:
            if time.monotonic() > ends_s:
                raise LabError(f"{self._api.url} told {len(self.at_s)} changes, not {number + 1}")
            time.sleep(0.0005)
        return self.at_s[number]

    def _listen(self) -> None:
        try:
            for piece in self._api.follow("/events", deadline_s=LIMIT_S, kind="vm"):
                now_s = time.monotonic()
                self.at_s += [now_s] * piece.count("event: vm")
                if "event: ready" in piece:
                    self.ready.set()
        except LabError:
            pass  # the lab is down; one that ends before that is missed by await_change


def _measure(apis: Mapping[str, Api], writes: int) -> dict[str, list[float]]:
    """Milliseconds from the request to its answer, to the first node's and to the last node's event."""
    listeners = [_Listener(api) for api in apis.values()]
    for listener in listeners:
        if not listener.ready.wait(LIMIT_S):
            raise LabError("a stream of events never began")
    found: dict[str, list[float]] = {"answered": [], "seen by the first": [], "seen by all": []}
    for number in range(writes):
        time.sleep(REST_S)
        api = apis[NODES[number // 2 % len(NODES)]]
        before = [len(listener.at_s) for listener in listeners]
        began_s = time.monotonic()
        api.post(f"/vm/{NAME}/tags", action="remove" if number % 2 else "add", tag="seen")
        answered_s = time.monotonic()
        told_s = [one.await_change(told) for one, told in zip(listeners, before, strict=True)]
        for what, at_s in zip(found, (answered_s, min(told_s), max(told_s)), strict=True):
            found[what].append((at_s - began_s) * 1000)
    return found


def _print(found: Mapping[str, Sequence[float]], writes: int) -> None:
    head = (f"a write, ms after it was sent; {len(NODES)} nodes", "p50", "p95", "p99")
    table(head, [[what, *Spread.of(taken).cells()] for what, taken in found.items()])
    say(f"{writes} writes. Goal: seen by all within {GOAL_MS:.0f} ms (p99). {machine()}")


if __name__ == "__main__":
    sys.exit(main())
