"""Websockets of the API: a ticket, then a connection that carries bytes both ways. What is done with them is
terminal.py's and screens.py's.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pvc_cli.api import Api, checked, path
from pvc_cli.connections import Endpoint
from pvc_cli.errors import CliError, NoAnswer
from pvc_cli.transport import CONNECT_TIMEOUT_S, RawAnswer, new_connection, notice_silence, unreachable

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

OPEN_S, CLOSE_S = 30.0, 1.0
AWAY = (1001, 1006, 1012, 1013)
"""Close codes after which it is worth opening again: the API stops, the connection broke, not now."""
NORMAL = 1000


class Ended(Exception):
    """The other side has ended it: why, and whether it may be opened again."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason

    @property
    def again(self) -> bool:
        return self.code in AWAY


class Channel:
    """One open websocket. One thread may receive while another sends."""

    def __init__(self, connecting: ClientConnection, *, may_type: bool) -> None:
        self._held = ExitStack()
        self._connection = self._held.enter_context(connecting)
        self.may_type = may_type

    def receive(self) -> bytes | str:
        """What comes next: bytes of the guest, or a sentence of PVC's. Raises Ended."""
        from websockets.exceptions import ConnectionClosed

        try:
            return self._connection.recv()
        except ConnectionClosed as closed:
            raise _ended(closed) from None

    def send(self, data: bytes) -> None:
        """Raises Ended."""
        from websockets.exceptions import ConnectionClosed

        try:
            self._connection.send(data)
        except ConnectionClosed as closed:
            raise _ended(closed) from None

    def close(self) -> None:
        self._held.close()


def open_channel(api: Api, vm: str, kind: str, *, look: bool = False, lines: int | None = None) -> Channel:
    """`kind` is console or vnc. Raises CliError: ApiError when it is refused, NoAnswer."""
    given = api.post(path("vm", vm, kind, "ticket"), look=look or None).body
    target = str(given["path"]) + (f"&lines={lines}" if lines is not None else "")
    return _opened(api.endpoint, target, may_type=bool(given["may_type"]))


def _opened(endpoint: Endpoint, target: str, *, may_type: bool) -> Channel:
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.sync.client import connect

    uri = f"{'wss' if endpoint.scheme == 'https' else 'ws'}://{_host(endpoint)}{target}"
    shown = target.partition("?")[0]
    how: dict[str, Any] = {"open_timeout": OPEN_S, "close_timeout": CLOSE_S, "compression": None, "max_size": None}
    try:
        # proxy=None: as all of this command line, it goes where the connection points
        connecting = connect(uri, sock=_socket(endpoint, shown), ssl=_context(endpoint), proxy=None, **how)
        return Channel(connecting, may_type=may_type)
    except InvalidStatus as error:
        answer = error.response
        headers = {name.lower(): value for name, value in answer.headers.raw_items()}
        checked("GET", shown, RawAnswer(answer.status_code, headers, bytes(answer.body or b"")))
        raise NoAnswer(f"GET {shown} answered {answer.status_code} instead of a websocket.") from None
    except (OSError, WebSocketException) as error:
        raise NoAnswer(
            f"GET {endpoint.url}{shown} opened no websocket: {error}", help="does a proxy between keep websockets out?"
        ) from error


def _socket(endpoint: Endpoint, shown: str) -> socket.socket:
    """Connected the way every request is; TLS is the websocket's own."""
    try:
        if endpoint.socket_path:
            plain = new_connection(endpoint)
            plain.connect()
            made: socket.socket = plain.sock
        else:
            made = socket.create_connection((endpoint.host, endpoint.port), CONNECT_TIMEOUT_S)
            notice_silence(made)
    except OSError as error:
        raise unreachable(endpoint, "GET", shown, error) from error
    made.settimeout(None)
    return made


def _context(endpoint: Endpoint) -> ssl.SSLContext | None:
    if endpoint.scheme != "https" or endpoint.socket_path:
        return None
    context = ssl.create_default_context()
    if not endpoint.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _host(endpoint: Endpoint) -> str:
    if endpoint.socket_path:
        return "localhost"
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"{host}:{endpoint.port}"


def _ended(closed: Any) -> Ended:
    if closed.rcvd is not None:
        return Ended(closed.rcvd.code, closed.rcvd.reason or "the API closed it")
    return Ended(1006, "the connection broke off")


def failed(what: str, ended: Ended) -> CliError:
    """An end nobody asked for, as an error."""
    return CliError(f"{what} was closed: {ended.reason}.")
