"""Takes labs down when whoever held this process's standard input is gone, however it ended.

`python -m lab.leash NAME...`: these labs; without a name all below PVC_LAB_DIR. For tests: a run that was killed can
clean up nothing itself.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

from lab import LabError
from lab.state import REPOSITORY, Lab, all_labs

PATIENCE_S = 120.0
"""An `up` that was left behind holds its lab until it has ended."""


def hold(*names: str) -> subprocess.Popen[bytes]:
    """Start the process; the labs go when its `stdin` is closed, or we end."""
    argv = [sys.executable, "-P", "-m", "lab.leash", *names]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(argv, stdin=subprocess.PIPE, cwd=REPOSITORY, env=env, start_new_session=True)


def let_go(leash: subprocess.Popen[bytes]) -> None:
    """End it, and wait until the labs are gone."""
    assert leash.stdin is not None
    leash.stdin.close()
    leash.wait(PATIENCE_S)


def main() -> None:
    sys.stdin.buffer.read()
    end = time.monotonic() + PATIENCE_S
    for name in sys.argv[1:] or all_labs():
        while Lab(name).exists and time.monotonic() < end:
            with contextlib.suppress(LabError):
                take_down(Lab(name))
            time.sleep(0.1)


def take_down(lab: Lab) -> None:
    with lab.locked():
        lab.remove()


if __name__ == "__main__":
    main()
