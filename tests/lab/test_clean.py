"""`up` and `down` leave nothing, also when `up` was killed half-way. The whole of PVC is in these labs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import lab_traces
import pytest

from lab.state import REPOSITORY

pytestmark = pytest.mark.system
LAB = str(REPOSITORY / "script/lab")
SEED = 20


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LAB, *argv], capture_output=True, text=True, timeout=200)


def ok(*argv: str) -> str:
    done = run(*argv)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_up_and_down_leave_nothing(labs: Path) -> None:
    before = lab_traces.look()
    started = time.monotonic()
    ok("up", "--name", "clean")
    print(f"ready after {time.monotonic() - started:.1f} s")
    assert lab_traces.look() == before
    assert "runs already" in ok("up", "--name", "clean")
    ok("down")
    assert list(labs.iterdir()) == []
    assert lab_traces.processes_of(labs) == []
    assert lab_traces.look() == before


def test_two_labs_side_by_side(labs: Path) -> None:
    ok("up", "--name", "one")
    ok("up", "--name", "two")
    assert "several labs: one, two" in run("env").stderr
    urls = {ok("env", "--name", name).splitlines()[0] for name in ("one", "two")}
    assert len(urls) == 2
    ok("down", "--name", "one")
    assert "pvcnoded.service      active" in ok("status")
    ok("down")


@pytest.mark.parametrize("after_s", [round(random.Random(SEED + n).uniform(0.15, 6), 2) for n in range(6)])
def test_down_after_up_was_killed(labs: Path, after_s: float) -> None:
    _killed_up(after_s)
    if list(labs.iterdir()):
        ok("down", "--name", "broken")
    assert list(labs.iterdir()) == []
    _gone(labs)


def test_up_after_up_was_killed(labs: Path) -> None:
    _killed_up(2)
    ok("up", "--name", "broken")
    assert "pvcnoded.service      active" in ok("status")
    ok("down")
    _gone(labs)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_cleans_after_itself(labs: Path, number: int) -> None:
    up = _up()
    time.sleep(1.5)
    up.send_signal(number)
    assert up.wait(60) != 0
    assert list(labs.iterdir()) == []
    _gone(labs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "after_s"),
    [
        (number, round(random.Random(SEED * int(number)).uniform(0.5, 12), 2))
        for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
    ],
)
def test_three_nodes_whose_up_ended_early(labs: Path, number: int, after_s: float) -> None:
    up = _up("--nodes", "3", "--store", "zookeeper")
    time.sleep(after_s)
    up.send_signal(number)
    ready = up.wait(60) == 0
    if list(labs.iterdir()):
        assert ready or number == signal.SIGKILL, "who could still clean after itself has done it"
        ok("down", "--name", "broken")
    assert list(labs.iterdir()) == []
    _gone(labs)


def _up(*more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [LAB, "up", "--name", "broken", *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _killed_up(after_s: float) -> None:
    up = _up()
    time.sleep(after_s)
    os.kill(up.pid, signal.SIGKILL)
    up.wait()


def _gone(labs: Path) -> None:
    """A process that waits for its starter's word ends by itself when the starter dies; that takes it a moment."""
    end = time.monotonic() + 5
    while lab_traces.processes_of(labs):
        assert time.monotonic() < end, lab_traces.processes_of(labs)
        time.sleep(0.05)
