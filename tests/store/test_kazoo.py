"""kazoo's own tests, unmodified, against pvcstored. What is left out, and why: kazoo_left_out.txt."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .rigs import ROOT

MOST_WE_KNOW_OF = 200
"""kazoo 2.11 has this many tests that touch us; far fewer would mean that they were not found."""


@pytest.mark.system
@pytest.mark.slow
def test_kazoos_own_tests_pass_on_pvcstored(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.store.kazoo_plugin", "-p", "no:cacheprovider"]
    command += ["-p", "no:schemathesis"]  # it keeps what failed calls held, and some of these tests count objects
    command += ["-n", "3", "--dist", "loadfile", "-W", "ignore", "--tb", "short", "-rfE", "--rootdir", str(tmp_path)]
    command += ["-c", os.devnull, "--ignore-glob=*gevent*", "--ignore-glob=*eventlet*", "--pyargs", "kazoo.tests"]
    environment = {**os.environ, "ZOOKEEPER_VERSION": "3.8.0", "PYTHONPATH": str(ROOT)}
    environment.pop("CI", None)  # kazoo's tests would then expect more of the machine
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) >= MOST_WE_KNOW_OF, done.stdout[-500:]
