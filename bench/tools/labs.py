"""A lab of a bench's own, and programs run inside its nodes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from bench.tools.figures import say
from lab import control, node, up
from lab.api import Api
from lab.processes import Process
from lab.state import REPOSITORY, Lab, Plan

NODE = "hv1"


class BenchLab:
    """A lab that is up. Everything raises LabError with a sentence."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.api: Api = up.api_of(lab)

    @property
    def init(self) -> Process:
        return self.lab.needs(NODE)

    def inside(self, where: str, *argv: str) -> str:
        """Run a command inside a node, as root; return its output."""
        return node.run_inside(self.lab.needs(where), argv, f"on {where}")

    def python(self, module: str, *arguments: str) -> Any:
        """What the last line of `python -m module arguments`, run as root inside the node, prints as JSON."""
        argv = ["env", f"PYTHONPATH={REPOSITORY}", sys.executable, "-P", "-m", module, *arguments]
        return json.loads(node.run_inside(self.init, argv, module).splitlines()[-1])

    def restart(self, *units: str) -> None:
        """Stop them, then start them in this order's reverse."""
        for unit in units:
            control.ask(self.init, "stop", unit=unit)
        for unit in reversed(units):
            control.ask(self.init, "start", unit=unit)
        ends_s = time.monotonic() + 60.0
        while not self.api.answers():
            if time.monotonic() > ends_s:
                raise RuntimeError("the API does not answer after a restart of all daemons")
            time.sleep(0.1)

    def pids(self) -> dict[str, int]:
        """Daemon -> its process id, as the machine sees it."""
        inside = {unit["unit"].removesuffix(".service"): unit["pid"] for unit in node.status(self.init)}
        outside = {_inner_pid(pid): pid for pid in _below(self.init.pid)}
        return {name: outside[pid] for name, pid in inside.items() if pid}


@contextlib.contextmanager
def bench_lab(name: str, *, nodes: int = 1) -> Iterator[BenchLab]:
    """Up and, whatever happens, down again. Several nodes are on ZooKeeper."""
    lab = Lab(f"bench-{name}-{os.getpid()}"[:20].rstrip("-"))
    names, store = [f"hv{number}" for number in range(1, nodes + 1)], "embedded" if nodes == 1 else "zookeeper"
    up.bring_up(lab, Plan(name=lab.name, nodes=names, store=store), lambda _: None)
    say(f"a lab of {nodes} node{'s' if nodes > 1 else ''} is up ({lab.name})")
    try:
        yield BenchLab(lab)
    finally:
        up.take_down(lab)


def _below(pid: int) -> Sequence[int]:
    """Every process of the namespace that `pid` is the first of."""
    space = os.readlink(f"/proc/{pid}/ns/pid")
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and os.readlink(f"/proc/{entry}/ns/pid") == space:
                found.append(int(entry))
    return found


def _inner_pid(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith("NSpid:"))
    return int(line.split()[-1])
