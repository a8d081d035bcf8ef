"""How long a guest that counts every 5 ms stood still, from outside: the time between the last number on the console of
the node it left and the first on that of the node it went to. The consoles are files, looked at every millisecond.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

LOOK_S = 0.001
_TICK = b"tick"
"""Not PVC's own line on the target, that the guest comes from another node."""


class Pulse:
    """Watches from its making until `gap_s`."""

    def __init__(self, source: Path, target: Path) -> None:
        self._files = (source, target)
        self._sizes = [_size(source), _size(target)]
        self._grew_s: list[list[float]] = [[], []]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def gap_s(self) -> float:
        """Raises RuntimeError when it was not seen to count on either side."""
        end_s = time.monotonic() + 30.0
        while not self._grew_s[1] and time.monotonic() < end_s:
            time.sleep(0.01)
        self._stopped.set()
        self._thread.join()
        left, arrived = self._grew_s
        if not left or not arrived:
            raise RuntimeError("the guest was not seen to count on both nodes")
        return arrived[0] - left[-1]

    def _run(self) -> None:
        while not self._stopped.is_set():
            for index, file in enumerate(self._files):
                before, size = self._sizes[index], _size(file)
                self._sizes[index] = size
                if size > before and _TICK in _from(file, before):
                    self._grew_s[index].append(time.monotonic())
            time.sleep(LOOK_S)


def _from(file: Path, offset: int) -> bytes:
    with file.open("rb") as log:
        log.seek(offset)
        return log.read()


def _size(file: Path) -> int:
    try:
        return os.stat(file).st_size
    except OSError:
        return 0
