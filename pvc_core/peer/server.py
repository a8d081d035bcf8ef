"""Listening on a unix socket, a thread per connection, up to a limit. What is answered is the handlers' business."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pvc_core.peer.answering import Handler, answer_one, refuse_busy
from pvc_core.peer.frames import Stream
from pvc_core.peer.local import Listener

_log = logging.getLogger(__name__)


class PeerServer:
    """Answers questions at `path` from start() to stop().

    `mode` and `group` decide who may connect; `name` is what a second one on the same node is told that runs already.
    More than `max_connections` at once are told to ask again. `idle_s` is how long a client may neither send the next
    piece of its body nor take the next of ours.
    """

    def __init__(
        self,
        path: Path | str,
        handlers: Mapping[str, Handler],
        *,
        mode: int = 0o660,
        group: str | None = None,
        max_connections: int = 64,
        idle_s: float = 30.0,
        name: str = "the daemon",
    ) -> None:
        self._path = Path(path)
        self._handlers = dict(handlers)
        self._mode = mode
        self._group = group
        self._max = max_connections
        self._idle_s = idle_s
        self._name = name
        self._lock = threading.Lock()
        self._open: dict[Stream, threading.Thread] = {}
        self._listener: Listener | None = None
        self._accepting: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """From here on questions are answered. Raises Refused (another process serves this path), Permanent."""
        self._listener = Listener(self._path, mode=self._mode, group=self._group, name=self._name)
        self._accepting = threading.Thread(
            target=self._accept, args=(self._listener.socket,), name=self._path.name, daemon=True
        )
        self._accepting.start()

    def stop(self, wait_s: float = 5.0) -> None:
        """Closes every connection and waits until their threads are done, or `wait_s`. Idempotent."""
        if self._listener is None or self._stopping.is_set():
            return
        self._stopping.set()
        _wake(self._listener.socket)
        until_s = time.monotonic() + wait_s
        if self._accepting:
            self._accepting.join(wait_s)
        self._listener.close()
        with self._lock:
            threads = list(self._open.items())
        for stream, _ in threads:
            stream.interrupt()
        for _, thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    @property
    def open_count(self) -> int:
        return len(self._open)

    def _accept(self, listening: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = listening.accept()
            except OSError as error:
                if self._stopping.is_set():
                    return
                self._complain(error)
                continue
            self._take(Stream(sock))

    def _complain(self, error: OSError) -> None:
        if error.errno != errno.ECONNABORTED:
            _log.error("cannot take a connection at %s: %s", self._path, error.strerror)
            self._stopping.wait(1.0)  # out of file descriptors: it does not get better by trying faster

    def _take(self, stream: Stream) -> None:
        with self._lock:
            full = len(self._open) >= self._max
            if not full:
                thread = threading.Thread(target=self._serve, args=(stream,), name="question", daemon=True)
                self._open[stream] = thread
        if full:
            refuse_busy(stream, self._max)
            stream.close()
            return
        try:
            thread.start()
        except RuntimeError as error:
            _log.error("cannot start a thread for a question at %s: %s", self._path, error)
            self._forget(stream)

    def _serve(self, stream: Stream) -> None:
        try:
            answer_one(stream, self._handlers, idle_s=self._idle_s)
        finally:
            self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        stream.close()
        with self._lock:
            self._open.pop(stream, None)


def _wake(listening: socket.socket) -> None:
    """Make accept() return: on Linux a listening socket that is shut down gives EINVAL."""
    with suppress(OSError):  # it never listened
        listening.shutdown(socket.SHUT_RDWR)
