"""Five nodes: three coordinators and two hypervisors; nothing of them is left, however the run that made them ends."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import lab_traces
import pytest

from lab import up
from lab.state import REPOSITORY, Lab

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
    _ok("power", "off", "hv5")
    assert "hv5                     off" in _ok("status")
    assert up.api_of(Lab("five")).get("/node/hv4")[0]["daemon_state"] == "run"
    _ok("power", "on", "hv5")
    _eventually(lambda: _ok("status").count("pvcnoded.service      active") == 5)
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


def _ok(*argv: str) -> str:
    done = subprocess.run([LAB, *argv], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)
