"""Five nodes: three coordinators and two hypervisors, both of which lose their power at once; nothing of them is left,
however the run that made them ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import lab_traces
import pytest

from lab import LabError, guests, up
from lab.api import Api
from lab.state import REPOSITORY, Lab
from tests.lab.doubles import Doubles

pytestmark = [pytest.mark.system, pytest.mark.slow]
LAB = str(REPOSITORY / "script/lab")
HOLDER = """
from tests.lab_fixture import RunningLab
import time
RunningLab("held")
print("up", flush=True)
time.sleep(600)
"""


def test_three_coordinators_and_two_hypervisors(labs: Path) -> None:
    started = time.monotonic()
    _ok("up", "--nodes", "5", "--name", "five")
    print(f"five nodes ready after {time.monotonic() - started:.1f} s")  # the goal is 60 s on two idle cores
    shown = up.api_of(Lab("five")).get("/node")
    assert [item["name"] for item in shown] == ["hv1", "hv2", "hv3", "hv4", "hv5"]
    kinds = {item["name"]: item["coordinator_state"] for item in shown}
    assert (kinds["hv4"], kinds["hv5"]) == ("client", "client")
    status = _ok("status")
    assert status.count("pvc-zookeeper.service active, follower") == 2
    assert status.count("pvc-zookeeper.service active, leader") == 1
    assert status.count("pvcapid.service") == 3
    assert status.count("pvcnoded.service      active") == 5
    _two_die_at_once(Lab("five"))
    _ok("down")
    assert list(labs.iterdir()) == []
    assert lab_traces.processes_of(labs) == []


def test_a_test_run_that_is_killed_leaves_nothing(labs: Path) -> None:
    argv = [sys.executable, "-c", HOLDER]
    run = subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert any(line == "up\n" for line in run.stdout)
    run.kill()
    run.wait()
    _eventually(lambda: list(labs.iterdir()) == [] and lab_traces.processes_of(labs) == [])


def _two_die_at_once(lab: Lab) -> None:
    """Both their guests execute elsewhere, once; their controllers switch both on again."""
    api, names = up.api_of(lab), {"hv4": "of-hv4", "hv5": "of-hv5"}
    with ThreadPoolExecutor(2) as both:
        wishes = [guests.Wish(name=name, node=node) for node, name in names.items()]
        list(both.map(partial(guests.make_guest, api), wishes))
    uuids = {name: str(api.get(f"/vm/{name}")[0]["uuid"]) for name in names.values()}
    watch = Doubles(Seen(lab))
    try:
        struck_s = time.monotonic()
        for node in names:
            _ok("power", "off", node)
        for node, name in names.items():
            began = partial(watch.began_s, uuids[name], after_s=struck_s, elsewhere_than=node)
            _eventually(began, within_s=300)
            print(f"{name} executes elsewhere {(began() or 0.0) - struck_s:.1f} s after both were lost")
        _eventually(lambda: _ok("status").count("pvcnoded.service      active") == 5, within_s=300)
        _eventually(lambda: all(watch.copies(uuids[name]) == [_where(api, name)] for name in uuids), within_s=120)
        assert not watch.found, watch.found
    finally:
        watch.stop()


def _where(api: Api, name: str) -> str:
    """The node it runs on; "" while it does not, or nobody answers."""
    try:
        vm = api.get(f"/vm/{name}")[0]
    except LabError:
        return ""
    return str(vm["node"]) if vm["state"] == "start" else ""


class Seen:
    """What the watcher asks of a lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.nodes = lab.plan().nodes

    def pid_namespace(self, where: str) -> str:
        running = self._lab.process(where)
        return os.readlink(f"/proc/{running.pid}/ns/pid") if running else ""

    def root_of(self, where: str) -> Path:
        return self._lab.node_dir(where)


def _ok(*argv: str) -> str:
    done = subprocess.run([LAB, *argv], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _eventually(true: Callable[[], object], *, within_s: float = 20) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)
