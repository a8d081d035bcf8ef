"""Somebody at a terminal: a program with a pty of its own, what it shows, and keys for it."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import termios
import time
from collections.abc import Sequence

PATIENCE_S = 90.0


class Sitting:
    def __init__(self, argv: Sequence[str], environ: dict[str, str]) -> None:
        self.shown = b""
        self.pid, self._keys = pty.fork()
        if self.pid == 0:
            with contextlib.suppress(OSError):
                os.execve(argv[0], list(argv), {**os.environ, **environ})
            os._exit(127)

    def press(self, keys: bytes) -> None:
        os.write(self._keys, keys)

    def until(self, word: bytes, within_s: float = PATIENCE_S) -> bytes:
        """What was shown since the last time, up to and with `word`."""
        until_s = time.monotonic() + within_s
        while word not in self.shown:
            assert time.monotonic() < until_s, f"{word!r} did not come: {self.shown[-3000:].decode(errors='replace')}"
            if select.select([self._keys], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self._keys, 65536)
                except OSError:  # the program has ended
                    assert word in self.shown, self.shown[-3000:].decode(errors="replace")
        said, _, self.shown = self.shown.partition(word)
        return said + word

    @property
    def cooked(self) -> bool:
        """The terminal is as a shell wants it."""
        return bool(termios.tcgetattr(self._keys)[3] & termios.ICANON)

    def ended(self) -> int:
        """Its exit code, once it has ended."""
        until_s = time.monotonic() + PATIENCE_S
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > until_s:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError("it does not end")
            if select.select([self._keys], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):
                    self.shown += os.read(self._keys, 65536)
