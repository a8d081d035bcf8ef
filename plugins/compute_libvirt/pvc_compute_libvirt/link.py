"""The connection to libvirtd: every call with a deadline, and found again after libvirtd restarted, died or hung.

libvirt's calls block for ever against a stopped libvirtd, so each runs on a thread of its own, and who waited goes on
at the deadline with Late. A connection with a late call gets no further ones (libvirtd stops reading after five): a
fresh one is opened by the keeper, the only thread that opens. No keepalive: on a local socket libvirtd's death is seen
at once, and closing our end would not take back a request that waits in a stopped libvirtd's socket, only hide it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import libvirt

from pvc_compute_libvirt.words import translate
from pvc_core.clock import Clock
from pvc_core.errors import Invalid, Permanent, PvcError, Retry

T = TypeVar("T")
Watcher = Callable[["libvirt.virConnect"], None]

_RETRY_OPEN_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_loop_lock = threading.Lock()


class Late(Retry):
    """The deadline passed, the call has not come back. `back` is set when it does, whatever came of it."""

    def __init__(self, message: str, back: threading.Event) -> None:
        super().__init__(message, again_in_s=2.0)
        self.back = back


class Connection:
    """One libvirt connection, with the number of calls that are out on it. `number` tells connections apart."""

    def __init__(self, handle: libvirt.virConnect, number: int) -> None:
        self.handle, self.number = handle, number
        self.out = 0
        self.retired = False


class Link:
    """`opened` is called on the keeper's thread with each new connection, to register for events; `found` when it is
    not the first one."""

    def __init__(self, uri: str, *, clock: Clock, log: Any, opened: Watcher, found: Callable[[], None]) -> None:
        self._uri, self._clock, self._log = uri, clock, log
        self._opened, self._found = opened, found
        self._change = threading.Condition()
        self._current: Connection | None = None
        self._error = ""
        self._number = 0
        self._stopped = False
        self._keeper: threading.Thread | None = None
        self._away_since_s: float | None = None

    def away_s(self) -> float:
        """For how long there has been no connection; 0.0 while there is one, and before one was asked for."""
        with self._change:
            return 0.0 if self._away_since_s is None else self._clock.boottime_s() - self._away_since_s

    def keep(self) -> None:
        """From now on keep a connection open, also when nobody calls."""
        with self._change:
            if self._keeper is None:
                run_event_loop()
                self._away_since_s = self._clock.boottime_s()
                self._keeper = _thread(self._keep, "libvirt-keeper")

    def stop(self) -> None:
        """No new calls, no new connection; what is out comes back in its own time."""
        with self._change:
            self._stopped = True
            self._change.notify_all()
        self._retire(self._current)

    def call(
        self, attempted: str, work: Callable[[libvirt.virConnect], T], *, deadline_s: float, again: bool = False
    ) -> T:
        """What `work(connection)` returns. Raises Late at the deadline, Retry when libvirtd is away, else what

        libvirt means. With `again`, a connection that broke meanwhile is replaced and the call made once more.
        """
        until_s = self._clock.boottime_s() + deadline_s
        connection = self._usable(attempted, until_s)
        try:
            return self._run(attempted, connection, work, until_s)
        except libvirt.libvirtError as error:
            if not self._broken(connection, error):
                raise translate(attempted, error) from None
            self._retire(connection)
            if again and until_s > self._clock.boottime_s():
                return self.call(attempted, work, deadline_s=until_s - self._clock.boottime_s())
            words = f"could not {attempted}: libvirtd went away ({error.get_error_message()})"
            raise Retry(words, again_in_s=1.0) from None

    def _usable(self, attempted: str, until_s: float) -> Connection:
        self.keep()
        with self._change:
            while self._current is None:
                left_s = until_s - self._clock.boottime_s()
                if self._stopped:
                    raise Retry(f"could not {attempted}: the driver is stopping")
                if self._error or left_s <= 0 or not self._change.wait(left_s):
                    why = self._error or "it does not answer"
                    raise Retry(
                        f"could not {attempted}: no connection to libvirtd at {self._uri}: {why}", again_in_s=1.0
                    )
            self._current.out += 1
            return self._current

    def _run(
        self, attempted: str, connection: Connection, work: Callable[[libvirt.virConnect], T], until_s: float
    ) -> T:
        result: list[T] = []
        failure: list[BaseException] = []
        back = threading.Event()

        def carry() -> None:
            try:
                result.append(work(connection.handle))
            except (libvirt.libvirtError, PvcError) as error:
                failure.append(error)
            finally:
                back.set()
                self._returned(connection)

        _thread(carry, "libvirt-call")
        if not back.wait(max(0.0, until_s - self._clock.boottime_s())):
            self._retire(connection)
            raise Late(f"could not {attempted} in time: libvirtd has not answered", back)
        if failure and isinstance(failure[0], Invalid):  # what libvirt told could not be read: no driver's error
            raise Permanent(f"could not {attempted}: {failure[0].message}")
        if failure:
            raise failure[0]
        if not result:
            raise Retry(f"could not {attempted}: the call failed unexpectedly; the daemon's log tells more")
        return result[0]

    def _returned(self, connection: Connection) -> None:
        with self._change:
            connection.out -= 1
            close = connection.retired and connection.out == 0
        if close:
            _close(connection)

    def _retire(self, connection: Connection | None) -> None:
        """No further calls on it; closed when the last one is back."""
        if connection is None:
            return
        with self._change:
            if connection.retired:
                return
            connection.retired = True
            if self._current is connection:
                self._current, self._away_since_s = None, self._clock.boottime_s()
                self._change.notify_all()
            close = connection.out == 0
        if close:
            _thread(lambda: _close(connection), "libvirt-close")

    def _broken(self, connection: Connection, error: libvirt.libvirtError) -> bool:
        lost = (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)
        return connection.retired or not connection.handle.isAlive() or error.get_error_domain() in lost

    def _keep(self) -> None:
        failures = 0
        while True:
            with self._change:
                self._change.wait_for(lambda: self._stopped or self._current is None)
                if self._stopped:
                    return
            try:
                connection = self._open()
            except libvirt.libvirtError as error:
                self._failed(error, _RETRY_OPEN_S[min(failures, len(_RETRY_OPEN_S) - 1)])
                failures += 1
                continue
            failures = 0
            with self._change:
                if connection.retired:  # lost before it was anybody's: nobody would ever retire it again
                    continue
                self._current, self._error, self._away_since_s = connection, "", None
                self._change.notify_all()
            if connection.number > 1:
                self._log.info("connected to libvirtd again", uri=self._uri)
                self._found()

    def _open(self) -> Connection:
        handle = libvirt.open(self._uri)
        self._number += 1
        connection = Connection(handle, self._number)
        handle.registerCloseCallback(lambda *_: self._retire(connection), None)
        try:
            self._opened(handle)
        except libvirt.libvirtError:
            self._retire(connection)
            raise
        return connection

    def _failed(self, error: libvirt.libvirtError, wait_s: float) -> None:
        with self._change:
            if not self._error:
                self._log.warning("no connection to libvirtd", uri=self._uri, error=error.get_error_message())
            self._error = error.get_error_message() or str(error)
            self._change.notify_all()
            self._change.wait_for(lambda: self._stopped, wait_s)


def run_event_loop() -> None:
    """libvirt's event loop, one per process by libvirt's own design; must be there before the first connection."""
    with _loop_lock:
        if any(thread.name == "libvirt-events" for thread in threading.enumerate()):
            return
        libvirt.virEventRegisterDefaultImpl()
        libvirt.registerErrorHandler(lambda *_: None, None)  # errors are raised; libvirt prints them too, by default
        _thread(_turn, "libvirt-events")


def _turn() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _close(connection: Connection) -> None:
    try:
        connection.handle.unregisterCloseCallback()
        connection.handle.close()
    except libvirt.libvirtError:
        return  # it is gone already


def _thread(target: Callable[[], None], name: str) -> threading.Thread:
    # Daemon threads: one that hangs in libvirt must not keep the process from ending.
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread
