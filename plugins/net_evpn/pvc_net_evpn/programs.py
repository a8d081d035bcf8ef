"""FRR's daemons, kept running beyond the life of this daemon: a restart of pvcnoded must not stop what guests' packets
go by. One that runs already is taken over by its pid file.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path


class Program:
    """`argv` must name `pid_file`, so that the process can be known again by its command line."""

    def __init__(self, argv: Sequence[str], pid_file: Path) -> None:
        self._argv, self._pid_file = list(argv), pid_file
        self._child: subprocess.Popen[bytes] | None = None
        self._watched = 0

    def ensure(self) -> bool:
        """True if it had to be started. Raises OSError."""
        if self.pid() is not None:
            return False
        with open(self._pid_file.with_suffix(".out"), "ab") as out:
            self._child = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        return True

    def pid(self) -> int | None:
        """None when it does not run."""
        if self._child is not None:
            if self._child.poll() is None:
                return self._child.pid
            self._child = None
        try:
            pid = int(self._pid_file.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self._pid_file) in words else None

    def on_end(self, call: Callable[[], None]) -> None:
        """Call it, from a thread, as soon as the process that runs now does not any more."""
        pid = self.pid()
        if pid is None or pid == self._watched:
            return
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return call()
        self._watched = pid

        def wait() -> None:
            ended = select.poll()
            ended.register(fd, select.POLLIN)
            ended.poll()
            os.close(fd)
            call()

        threading.Thread(target=wait, name=f"end of {self._pid_file.stem}", daemon=True).start()

    def end(self) -> None:
        """Only for tests and for taking the plugin out."""
        pid = self.pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        if self._child is not None:
            self._child.wait(10)
