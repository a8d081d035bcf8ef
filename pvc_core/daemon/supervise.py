"""A program kept running for a plugin: restarted with back-off when it dies, ended with the daemon."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from typing import Any

BACK_OFF_MAX_S = 30.0
STEADY_S = 60.0
END_S = 5.0


class Supervisor:
    """Runs `argv` until `stop`; its output goes to the daemon's stderr."""

    def __init__(self, argv: Sequence[str], log: Any) -> None:
        self._argv, self._log = list(argv), log
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        """Held while one is started: who stops meanwhile waits for it, and stops that one."""
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name=f"supervise-{self._argv[0]}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def stop(self) -> None:
        """The program has ended when this returns. Idempotent."""
        with self._starting:
            self._stopping.set()
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join(END_S)

    def _keep(self) -> None:
        wait_s = 0.5
        while not self._stopping.is_set():
            try:
                with self._starting:
                    if self._stopping.is_set():
                        return
                    self._process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL)
                lived_s = self._lived(self._process)
            except OSError as error:
                self._log.error(f"{self._argv[0]} cannot be started: {error.strerror}")
                lived_s = 0.0
            wait_s = 0.5 if lived_s > STEADY_S else min(BACK_OFF_MAX_S, wait_s * 2)
            self._stopping.wait(wait_s)

    def _lived(self, process: subprocess.Popen[bytes]) -> float:
        """Wait for its end; how long it lived, in steps of a second."""
        lived_s = 0.0
        while True:
            try:
                code = process.wait(1.0)
            except subprocess.TimeoutExpired:
                lived_s += 1.0
                continue
            if not self._stopping.is_set():
                self._log.warning(f"{self._argv[0]} ended with code {code}; starting it again")
            return lived_s
