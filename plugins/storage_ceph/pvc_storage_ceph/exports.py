"""A volume's bytes as they are read out, some objects ahead of the reader."""

from __future__ import annotations

import queue
from typing import Any

from pvc_core.errors import Retry
from pvc_core.model.storage import Volume
from pvc_storage_ceph import snapshots
from pvc_storage_ceph.volumes import Volumes

_STEP_BYTES = 4 * 1024**2
_AHEAD = 4
_LIMIT_S = 60.0


class Export:
    """One at a time; close it."""

    def __init__(self, volumes: Volumes, volume: Volume, snapshot: str) -> None:
        record = volumes.usable(volume)
        self._opened = volumes.images.opened(record.name, read_only=True)
        self._image: Any = self._opened.__enter__()
        try:
            if snapshot:
                self._image.set_snap(snapshots.real_name(record, self._image, snapshot))
            self._size = int(self._image.size())
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            self.close()
            raise
        self._asked = 0
        self._waiting: list[tuple[int, queue.SimpleQueue[tuple[int, bytes]]]] = []

    def read(self) -> bytes:
        """The next bytes, none at the end."""
        while len(self._waiting) < _AHEAD and self._asked < self._size:
            self._ask()
        if not self._waiting:
            return b""
        count, arriving = self._waiting.pop(0)
        try:
            code, data = arriving.get(timeout=_LIMIT_S)
        except queue.Empty:
            raise Retry("Ceph gave no data in time") from None
        if code < 0:
            raise OSError(-code, "reading")
        return data.ljust(count, b"\0")

    def close(self) -> None:
        self._opened.__exit__(None, None, None)

    def _ask(self) -> None:
        arriving: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        count = min(_STEP_BYTES, self._size - self._asked)
        self._image.aio_read(
            self._asked,
            count,
            lambda completion, data: arriving.put((int(completion.get_return_value()), bytes(data or b""))),
        )
        self._waiting.append((count, arriving))
        self._asked += count
