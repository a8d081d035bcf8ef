"""Listening, a thread per connection, up to a limit; and the server on a unix socket. What is answered is the handlers'
business, the transport between nodes is network.py's.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pvc_core.errors import PvcError
from pvc_core.peer.answering import Handler, answer_one, refuse, refuse_busy
from pvc_core.peer.frames import Gone, Stream
from pvc_core.peer.local import Listener

_log = logging.getLogger(__name__)


class Server(ABC):
    """Answers questions from start() to stop(). `name` is for the log.

    More than `max_connections` at once are told to ask again. `idle_s` is how long a client may neither send the next
    piece of its body nor take the next of ours.
    """

    def __init__(self, name: str, *, max_connections: int, idle_s: float) -> None:
        self._name = name
        self._max = max_connections
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._open: dict[Stream, threading.Thread] = {}
        self._listening: socket.socket | None = None
        self._accepting: threading.Thread | None = None
        self._stopping = threading.Event()

    @abstractmethod
    def _listen(self) -> socket.socket:
        """A listening socket. Raises Refused (another process has it), Permanent."""

    @abstractmethod
    def _unlisten(self) -> None:
        """Nobody can connect any more."""

    def _dress(self, sock: socket.socket) -> socket.socket:
        """What the stream is made of. Others wait to be accepted meanwhile: nothing is awaited. Raises OSError."""
        return sock

    @abstractmethod
    def _greet(self, sock: socket.socket) -> Mapping[str, Handler]:
        """What this client may ask. Raises Gone, or a PvcError that it is told."""

    def start(self) -> None:
        """From here on questions are answered. Raises Refused (another process serves this place), Permanent."""
        self._listening = self._listen()
        self._accepting = threading.Thread(
            target=self._accept, args=(self._listening,), name=self._name.rpartition("/")[2], daemon=True
        )
        self._accepting.start()

    def stop(self, wait_s: float = 5.0) -> None:
        """Closes every connection and waits until their threads are done, or `wait_s`. Idempotent."""
        if self._listening is None or self._stopping.is_set():
            return
        self._stopping.set()
        _wake(self._listening)
        until_s = time.monotonic() + wait_s
        if self._accepting:
            self._accepting.join(wait_s)
        self._unlisten()
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
            try:
                dressed = self._dress(sock)
            except OSError:
                sock.close()  # it went before it was greeted
                continue
            self._take(dressed)

    def _complain(self, error: OSError) -> None:
        if error.errno != errno.ECONNABORTED:
            _log.error("cannot take a connection at %s: %s", self._name, error.strerror)
            self._stopping.wait(1.0)  # out of file descriptors: it does not get better by trying faster

    def _take(self, sock: socket.socket) -> None:
        stream = Stream(sock)
        with self._lock:
            full = len(self._open) >= self._max
            if not full:
                thread = threading.Thread(target=self._serve, args=(stream, sock), name="question", daemon=True)
                self._open[stream] = thread
        if full:
            refuse_busy(stream, self._max)
            stream.close()
            return
        try:
            thread.start()
        except RuntimeError as error:
            _log.error("cannot start a thread for a question at %s: %s", self._name, error)
            self._forget(stream)

    def _serve(self, stream: Stream, sock: socket.socket) -> None:
        try:
            answer_one(stream, self._greet(sock), idle_s=self._idle_s)
        except Gone as gone:
            _log.info("a client of %s went before it asked: %s", self._name, gone)
        except PvcError as error:
            refuse(stream, error)
        finally:
            self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        stream.close()
        with self._lock:
            self._open.pop(stream, None)


class PeerServer(Server):
    """Answers questions at the unix socket `path`.

    `mode` and `group` decide who may connect; `name` is what a second one on the same node is told that runs already.
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
        super().__init__(str(path), max_connections=max_connections, idle_s=idle_s)
        self._path, self._mode, self._group, self._who = Path(path), mode, group, name
        self._handlers = dict(handlers)
        self._listener: Listener | None = None

    def _listen(self) -> socket.socket:
        self._listener = Listener(self._path, mode=self._mode, group=self._group, name=self._who)
        return self._listener.socket

    def _unlisten(self) -> None:
        if self._listener:
            self._listener.close()

    def _greet(self, sock: socket.socket) -> Mapping[str, Handler]:
        return self._handlers


def _wake(listening: socket.socket) -> None:
    """Make accept() return: on Linux a listening socket that is shut down gives EINVAL."""
    with suppress(OSError):  # it never listened
        listening.shutdown(socket.SHUT_RDWR)
