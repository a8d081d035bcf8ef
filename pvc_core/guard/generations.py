"""The highest generation permitted so far for each guest, in this incarnation; outlives the guard's process.

One line per change in an append-only file below /run; rewritten when the guard starts.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from pvc_core.guard.incarnation import write_whole

NAME = "generations"


class Generations:
    """Not locked: its one user is."""

    def __init__(self, run: Path) -> None:
        """Raises OSError."""
        path = run / NAME
        self._path = path
        self._highest = _read(path)
        write_whole(path, "".join(f"{uuid} {number}\n" for uuid, number in self._highest.items()).encode(), 0o600)

    def highest(self, uuid: str) -> int:
        """-1 when none was permitted."""
        return self._highest.get(uuid, -1)

    def raise_to(self, uuid: str, generation: int) -> None:
        """Kept when this returns. Raises OSError."""
        line = f"\n{uuid} {generation}\n".encode()  # on a line of its own, whatever a full /run left of the last
        with self._path.open("ab", buffering=0) as lines:
            if lines.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._highest[uuid] = generation


def _read(path: Path) -> dict[str, int]:
    highest: dict[str, int] = {}
    if not path.exists():
        return highest
    for line in path.read_text().splitlines(keepends=True):
        uuid, _, number = line.rstrip("\n").partition(" ")
        if line.endswith("\n") and number.isdigit():  # the last line may be torn; its permit was never written
            highest[uuid] = max(highest.get(uuid, -1), int(number))
    return highest
