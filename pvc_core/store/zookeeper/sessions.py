"""The session as PVC sees it, told from kazoo's states.

LOST stays LOST until a new session is there: losing the connection again in between is no better news.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from kazoo.protocol.states import KeeperState

from pvc_core.store.base import Session, SessionState
from pvc_core.store.zookeeper.watching import Dispatcher


class SessionKeeper:
    """Holds the present Session and tells every change of it, in order, through the dispatcher."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.credentials_refused = False
        self._dispatcher = dispatcher
        self._lock = threading.Lock()
        self._session = Session(0, SessionState.SUSPENDED)
        self._listeners: list[Callable[[Session], None]] = []
        self._first = threading.Event()

    def now(self) -> Session:
        return self._session

    def listen(self, wake: Callable[[Session], None]) -> None:
        with self._lock:
            self._listeners.append(wake)

    def await_first(self, timeout_s: float) -> bool:
        """Wait for the very first connection; False at once when it is long past, or when it does not come in time."""
        if self._first.is_set():
            return False
        return self._first.wait(max(timeout_s, 0))

    def follow(self, state: KeeperState, session_id: int | None) -> None:
        if state == KeeperState.CONNECTED:
            self.credentials_refused = False
            self.move(SessionState.CONNECTED, session_id)
            self._first.set()
        elif state == KeeperState.CONNECTING:
            if self._session.state is SessionState.CONNECTED:
                self.move(SessionState.SUSPENDED)
        else:
            self.credentials_refused = self.credentials_refused or state == KeeperState.AUTH_FAILED
            if self._session.id:
                self.move(SessionState.LOST)

    def move(self, state: SessionState, session_id: int | None = None) -> None:
        with self._lock:
            session = Session(self._session.id if session_id is None else session_id, state)
            if session == self._session or self._session.state is SessionState.CLOSED:
                return
            self._session = session
            listeners = list(self._listeners)
        for listener in listeners:
            self._dispatcher.call(partial(listener, session))
