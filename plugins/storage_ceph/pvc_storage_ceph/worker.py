"""The child process: connects to Ceph, does what it is told on its socket, one call after the other, and answers.

It ends at once when its socket closes, also in the middle of a call: whoever asked is dead then. Its calls are in
calls.py. Started as `python -m pvc_storage_ceph.worker FD`.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from pvc_core.errors import PvcError
from pvc_storage_ceph.calls import Calls
from pvc_storage_ceph.cluster import Cluster
from pvc_storage_ceph.faults import in_words


class Worker:
    """`busy`: a call is at work, so locks and watches may be left behind when we end now."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self._asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._cluster: Cluster | None = None
        self._calls: Calls | None = None
        self._busy = False

    def work(self) -> None:
        """Until the socket closes."""
        config = self._line.recv()
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            name, args, deadline_s = self._asked.get()
            try:
                with in_words(name.replace("_", " ")):
                    answer = getattr(self._connected(config), name)(*args, deadline_s=deadline_s)
                reply = ("result", answer)
            except PvcError as error:
                reply = ("error", error)
            self._busy = self._calls is not None and self._calls.in_the_middle
            self._line.send(reply)

    def _connected(self, config: dict[str, Any]) -> Calls:
        if self._calls is None:
            self._cluster = Cluster(config)
            self._calls = Calls(self._cluster, lambda *what: self._line.send(("progress", what)))
        return self._calls

    def _listen(self) -> None:
        try:
            while True:
                asked = self._line.recv()
                self._busy = True
                self._asked.put(asked)
        except (EOFError, OSError):
            if self._cluster is not None and not self._busy:
                self._cluster.forget_note()
            os._exit(0)


def main(fd: int) -> None:
    """Never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the daemon's to handle
    Worker(Connection(fd)).work()


if __name__ == "__main__":
    main(int(sys.argv[1]))
