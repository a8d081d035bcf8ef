"""Child processes that talk to Ceph for us: a librados call can hang for ever, and then only its process can be ended.

One child does one thing at a time; idle ones are kept for the next call. A call past its deadline costs its child the
life. What a child is, and does, is worker.py.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from pvc_core.clock import Clock
from pvc_core.contracts.actions import Progress
from pvc_core.errors import PvcError, Retry

_KEPT_IDLE = 2
"""A connected child takes about 60 MB."""
_AT_MOST = 12
_LOOK_S = 0.5
_TAKE_S = 30.0
_END_S = 2.0


class Child:
    """Not for two threads at once. After a Retry raised here it is dead."""

    def __init__(self, config: Mapping[str, Any], clock: Clock, stopping: Callable[[], bool]) -> None:
        self._clock, self._stopping = clock, stopping
        ours, theirs = socket.socketpair()
        with theirs:
            argv = [sys.executable, "-P", "-m", "pvc_storage_ceph.worker", str(theirs.fileno())]
            self._process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._line = Connection(ours.detach())
        self.alive = True
        self._send(dict(config))

    def call(self, name: str, *args: Any, deadline_s: float, progress: Progress | None = None) -> Any:
        """What the call of this name in calls.py returns, or raises. Raises Retry past the deadline."""
        if deadline_s <= 0:
            raise Retry(f"{_words(name)} had no time left")
        end_s = self._clock.boottime_s() + deadline_s
        self._send((name, args, deadline_s))
        while True:
            self._await(name, end_s)
            kind, value = self._receive()
            if kind == "progress":
                if progress is not None:
                    progress(*value)
            elif kind == "error":
                raise value
            else:
                return value

    @property
    def runs(self) -> bool:
        """Whether it could take a call: it may have been ended from outside while it was idle."""
        return self.alive and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def end(self, *, kindly: bool = True) -> None:
        """Kindly: it closes its connection first."""
        self.alive = False
        self._line.close()
        try:
            if not kindly:
                self._process.kill()
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _await(self, name: str, end_s: float) -> None:
        while not self._line.poll(max(0.0, min(_LOOK_S, end_s - self._clock.boottime_s()))):
            if self._stopping():
                self.end(kindly=False)
                raise Retry(f"{_words(name)} was interrupted: the daemon is ending", help="it is begun again by itself")
            if self._clock.boottime_s() >= end_s:
                self.end(kindly=False)
                raise Retry(f"{_words(name)} got no answer from Ceph in time", help="is Ceph well? see `ceph status`")

    def _send(self, what: Any) -> None:
        try:
            self._line.send(what)
        except OSError as error:
            self.end(kindly=False)
            raise Retry(f"the process that talks to Ceph ended: {error}", again_in_s=1) from error

    def _receive(self) -> tuple[str, Any]:
        try:
            kind, value = self._line.recv()
        except (EOFError, OSError):
            self.end(kindly=False)
            raise Retry("the process that talks to Ceph ended in the middle of a call", again_in_s=1) from None
        return kind, value


class Children:
    """Lends them; safe to use from any thread. Starts none before it is needed. `config` gives, within so many seconds,
    what a new child is told: who we are to Ceph.
    """

    def __init__(
        self, config: Callable[[float], Mapping[str, Any]], clock: Clock, stopping: Callable[[], bool]
    ) -> None:
        self._config, self._clock, self._stopping = config, clock, stopping
        self._idle: list[Child] = []
        self._lent = 0
        self._died = False
        self._lock = threading.Lock()

    def call(self, name: str, *args: Any, deadline_s: float, progress: Progress | None = None) -> Any:
        """One call by whichever child has nothing to do."""
        end_s = self._clock.boottime_s() + deadline_s
        with self.lent(deadline_s) as child:
            return child.call(name, *args, deadline_s=end_s - self._clock.boottime_s(), progress=progress)

    @contextmanager
    def lent(self, deadline_s: float = _TAKE_S) -> Iterator[Child]:
        child = self.take(deadline_s)
        try:
            yield child
        except PvcError:
            self.give_back(child)
            raise
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            child.end(kindly=False)
            self.give_back(child)
            raise
        self.give_back(child)

    def config(self) -> Mapping[str, Any]:
        """What a child that begins now is told."""
        return self._config(_TAKE_S)

    def take(self, deadline_s: float = _TAKE_S) -> Child:
        """Give it back. Raises Retry when all are busy."""
        with self._lock:
            if self._lent >= _AT_MOST:
                raise Retry(f"{_AT_MOST} calls to Ceph are at work already", again_in_s=2)
            self._lent += 1
            # After a death the next one is new: at its start it shuts out what the dead one may have left on its way.
            while self._idle and not self._died:
                child = self._idle.pop()
                if child.runs:
                    return child
                self._died = True
            idle, self._idle, self._died = self._idle, [], False
        for one in idle:
            one.end()
        try:
            return Child(self._config(deadline_s), self._clock, self._stopping)
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
            with self._lock:
                self._lent -= 1
            raise

    def give_back(self, child: Child) -> None:
        with self._lock:
            self._lent -= 1
            self._died = self._died or not child.alive
            if child.alive and len(self._idle) < _KEPT_IDLE:
                self._idle.append(child)
                return
        if child.alive:
            child.end()

    def close(self) -> None:
        """End those that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.end()


def _words(name: str) -> str:
    return f'"{name.replace("_", " ")}"'
