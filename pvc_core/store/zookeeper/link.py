"""The connection: kazoo's client with deadlines that hold, and an account of how long the server has been silent.

kazoo 2.11 alone stays CONNECTED for ever while a client keeps writing to a server that hangs: each request it sends
counts as a ping. Here a missed deadline after which nothing was answered closes the connection, so that kazoo dials
again and says SUSPENDED. What is asked, and what an error code means, is store.py's.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import (
    AuthFailedError,
    ConnectionDropped,
    KazooException,
    SASLException,
    SessionExpiredError,
    ZookeeperError,
)
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.serialization import Watch
from kazoo.protocol.states import KeeperState
from kazoo.retry import KazooRetry

from pvc_core.store.access import Credentials
from pvc_core.store.zookeeper.dialling import Dialled, Dialler
from pvc_core.store.zookeeper.order import Order

_RETRY_MAX_DELAY_S = 0.5
"""After an outage every client is back within this and a dial; kazoo's own default is a minute."""

DIAL_MOST_S = 3.0
"""A dial that was given up for lack of an answer may take twice as long the next time, up to this: servers that have
just started are asked by everybody at once, and who gives up early is only one more that asks. One that answers is
given the short time again, so that the next that hangs is left quickly.
"""

FORGET_S = 30.0
"""After so long without a connection a server that is younger than what this client has seen is taken: its store was
begun anew. In one that lives, whatever was seen is by then with every server that serves (it lags behind by syncLimit
ticks at most, 2 s), so nothing older is shown by it.
"""

OnEvent = Callable[[str], None]
OnState = Callable[[KeeperState], None]


class Link(KazooClient):
    """A kazoo client that sends Orders. `call_deadline_s` is also the longest silence it bears."""

    def __init__(
        self,
        hosts: str,
        *,
        credentials: Credentials | None,
        tls: ssl.SSLContext | None,
        session_timeout_s: float,
        call_deadline_s: float,
        on_event: OnEvent,
        on_state: OnState,
        forget_s: float = FORGET_S,
    ) -> None:
        """`on_event` gets the key of each watch event, `on_state` kazoo's states; both in the connection's thread."""
        logger = logging.getLogger("pvc_core.store.kazoo")
        logger.setLevel(logging.ERROR)  # each failed dial is a warning of kazoo's; the store tells an outage once
        auth_data, sasl_options = _auth(credentials)
        super().__init__(
            hosts,
            timeout=session_timeout_s,
            handler=Dialler(self._step_s, tls),
            auth_data=auth_data,
            sasl_options=sasl_options,
            connection_retry=KazooRetry(max_tries=-1, delay=0.05, max_delay=_RETRY_MAX_DELAY_S),
            logger=logger,
        )
        self.on_event = on_event
        self.on_state = on_state
        self.call_deadline_s = call_deadline_s
        self._patience = 1.0
        self._forget_s, self._fell_s = forget_s, time.monotonic()
        self._connection = _Connection(self, self._conn_retry.copy(), logger=logger, sasl_options=sasl_options)

    @property
    def session_id(self) -> int | None:
        session_id: int | None = self._session_id
        return session_id

    def send(self, order: Order) -> None:
        """Queue `order`; its fate is told through it."""
        self._call(order, order)

    def await_answer(self, order: Order, deadline_s: float) -> None:
        """Wait until monotonic time `deadline_s`; on a miss withdraw the order, or close a silent connection."""
        if order.wait(deadline_s - time.monotonic()):
            return
        if not order.withdraw() and order.wait(0) is False:
            self._close_if_silent(order)

    def drop(self, generation: int | None = None) -> None:
        """Close the socket (only if it is still that of `generation`); kazoo notices at once and dials again."""
        connection = self._connection
        if generation is not None and connection.generation != generation:
            return
        sock = connection._socket
        if sock is None:
            return
        try:
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # SSLSocket's own would go on without TLS
        except OSError:
            pass  # it went by itself

    def halt(self, deadline_s: float) -> None:
        """End the session and the threads; takes at most about `deadline_s`, also when the server hangs."""
        stopper = threading.Thread(target=self._stop_quietly, name="store-stop", daemon=True)
        stopper.start()
        stopper.join(deadline_s)
        if stopper.is_alive():
            self.drop()
            stopper.join(deadline_s)
        if not stopper.is_alive():
            self.close()

    def forget_what_is_past(self) -> None:
        """Servers refuse, without a word, whoever has seen more than they have (processConnectRequest)."""
        if time.monotonic() - self._fell_s > self._forget_s:
            self.last_zxid = 0

    def patience(self, usual_s: float) -> float:
        """How long a step of a dial may take now that usually may take `usual_s`."""
        return min(usual_s * self._patience, max(usual_s, DIAL_MOST_S))

    def _step_s(self) -> float:
        """kazoo's own limit for the first step after the handshakes, which have a call's time, if that is less."""
        return self.patience(min(self.call_deadline_s, self._session_timeout / 1000 / len(self.hosts)))

    def dialled(self, *, given_up: bool) -> None:
        """`given_up`: for lack of an answer. One that was refused at once says nothing of the time a dial takes."""
        self._patience = min(2 * self._patience, 8.0) if given_up else 1.0

    def revive(self) -> None:
        """Begin anew after kazoo gave up (refused credentials, a fault of its own)."""
        if not self._stopped.is_set():
            self.start_async()

    def _stop_quietly(self) -> None:
        try:
            self.stop()
        except (KazooException, OSError):
            pass  # not to be stopped in an orderly way; the session times out on the server

    def _close_if_silent(self, order: Order) -> None:
        """Answers come in the order of the requests, so the oldest one without tells how long the server is silent."""
        oldest_sent_s = self._connection.oldest_sent_s() or order.sent_s or 0.0
        if time.monotonic() - oldest_sent_s >= self.call_deadline_s * 0.9:
            self.drop(order.generation)

    def _session_callback(self, state: KeeperState) -> None:
        """CONNECTED is said after the credentials were accepted; kazoo says it before they are sent."""
        if state == KeeperState.CONNECTED and self._connection.dialling:
            return
        before = self._state
        super()._session_callback(state)
        if state == before:
            return
        if before == KeeperState.CONNECTED:
            self._fell_s = time.monotonic()
        self.on_state(state)


class _Connection(ConnectionHandler):
    """kazoo's connection; `generation` counts the sockets."""

    client: Link

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.generation = 0
        self.dialling = False
        self._dialled = Dialled()

    def oldest_sent_s(self) -> float | None:
        try:
            request = self.client._pending[0][0]
        except IndexError:
            return None
        return request.sent_s if isinstance(request, Order) else None

    def _expand_client_hosts(self) -> list[tuple[str, str, int]]:
        return self._dialled.ordered(super()._expand_client_hosts())

    def _connect(self, host: str, hostip: str, port: int) -> tuple[float, float]:
        self.generation += 1
        self.dialling = True
        began_s, client = time.monotonic(), self.client
        least_s = client._step_s()
        self.client.forget_what_is_past()
        try:
            timeouts: tuple[float, float] = super()._connect(host, hostip, port)
        except SessionExpiredError:
            raise
        except (ConnectionDropped, self.handler.timeout_exception):
            took_s = time.monotonic() - began_s
            if self._socket is None:
                self._dialled.missed(hostip, took_s, least_s)
            client.dialled(given_up=took_s >= 0.9 * least_s)
            raise
        except (SASLException, ZookeeperError) as error:  # kazoo takes only AuthFailedError for a refusal
            raise AuthFailedError(str(error) or type(error).__name__) from error
        finally:
            self.dialling = False
        self.client.dialled(given_up=False)
        self.client._session_callback(KeeperState.CONNECTED)
        return timeouts

    def _invoke(self, timeout: float, request: Any, xid: int | None = None) -> Any:
        return super()._invoke(self.client.patience(min(timeout, self.client.call_deadline_s)), request, xid)

    def _submit(self, request: Any, timeout: float, xid: int | None = None) -> None:
        super()._submit(request.launch(self.generation) if isinstance(request, Order) else request, timeout, xid)

    def _read_response(self, header: Any, buffer: bytes, offset: int) -> Any:
        order = self.client._pending[0][0]
        if not isinstance(order, Order):
            return super()._read_response(header, buffer, offset)
        _, _, xid = self.client._pending.popleft()
        if header.zxid and header.zxid > 0:
            self.client.last_zxid = header.zxid
        if header.xid != xid:
            order.set_exception(RuntimeError("answer to another request"))
            raise RuntimeError(f"the server answered request {header.xid} instead of {xid}")
        order.answer(header.err, header.zxid, buffer, offset)
        return None

    def _read_watch_event(self, buffer: bytes, offset: int) -> None:
        event, _ = Watch.deserialize(buffer, offset)
        self.client.on_event(event.path)


def _auth(credentials: Credentials | None) -> tuple[list[tuple[str, str]], dict[str, str] | None]:
    if credentials is None:
        return [], None
    if credentials.mechanism == "digest":
        return [("digest", f"{credentials.user}:{credentials.password}")], None
    return [], {"mechanism": "DIGEST-MD5", "username": credentials.user, "password": credentials.password}
