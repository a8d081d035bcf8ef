"""Ends a test's Ceph when whoever held this process's standard input is gone, however it ended.

`python -P ceph_leash.py DIRECTORY`: a run that was killed by SIGKILL can clean up nothing itself. Only
processes that wrote their id below DIRECTORY/run and still name DIRECTORY in their command line are ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]


def hold(directory: Path) -> subprocess.Popen[bytes]:
    """Start the process; what runs from `directory` goes when its `stdin` is closed, or we end."""
    argv = [sys.executable, "-P", str(Path(__file__).resolve()), str(directory)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, cwd=_REPOSITORY, start_new_session=True)


def let_go(leash: subprocess.Popen[bytes], limit_s: float = 60.0) -> None:
    """Everything that ran is ended, and the directory gone."""
    assert leash.stdin is not None
    leash.stdin.close()
    leash.wait(limit_s)


def main() -> None:
    directory = Path(sys.argv[1])
    sys.stdin.buffer.read()
    for note in directory.rglob("run/*.pid"):
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            pid = int(note.read_text())
            if str(directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
