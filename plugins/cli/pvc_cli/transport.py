"""One HTTP request at a time, over TCP, TLS or a socket of this machine. Knows nothing of what is asked.

The standard library's http.client: it is imported in a third of the time of the larger clients, and speaks through any
socket. Meaning, errors of the API and JSON are api.py's.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pvc_cli.connections import Endpoint
from pvc_cli.errors import NoAnswer

CONNECT_TIMEOUT_S = 2.05
READ_TIMEOUT_S = 48 * 3600.0
"""A request with wait=true answers when the work is done, which may be hours later."""

PIECE_BYTES = 1 << 16

KEEPALIVE = (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 4))
"""Seconds of silence before the first question, seconds between two, and how many without an answer are the end."""

AGAIN_STATUSES = (429, 500, 502, 503, 504)
AGAIN_AFTER_S = (0.2, 0.4, 0.8)
"""Pauses before it is asked again: a GET, which changes nothing, and what could not even be sent."""

STREAMED = ("text/plain", "text/event-stream")

Trace = Callable[[str], None]


@dataclass(frozen=True)
class RawAnswer:
    """Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Stream:
    """A body sent in pieces, of a length known beforehand."""

    length: int
    chunks: Iterable[bytes]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_TIMEOUT_S)
        self.sock.connect(self.path)


class Transport:
    """Keeps one connection open between requests of one run."""

    def __init__(
        self, endpoint: Endpoint, *, trace: Trace | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.endpoint = endpoint
        self._trace = trace or (lambda _text: None)
        self._sleep = sleep
        self._open: http.client.HTTPConnection | None = None

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes | Stream = b"") -> RawAnswer:
        """Ask once, or up to four times for GET and for what could not be sent. Raises NoAnswer, saying what was tried
        and what helps.
        """
        reads = method == "GET"
        if not reads:
            # A connection the server has closed meanwhile is only noticed after sending, and then it is not known
            # whether a change was made. A new connection leaves no such doubt.
            self.close()
        for pause_s in AGAIN_AFTER_S:
            try:
                answer = self._once(method, target, headers, body)
                if not reads or answer.status not in AGAIN_STATUSES:
                    return answer
            except NoAnswer as error:
                if error.sent and not reads:
                    raise
                if isinstance(error.__cause__, (FileNotFoundError, PermissionError, ssl.SSLError)):
                    raise
            self._trace(f"* again in {pause_s} s")
            self._sleep(pause_s)
        return self._once(method, target, headers, body)

    def stream(self, target: str, headers: Mapping[str, str]) -> RawAnswer | Iterator[bytes]:
        """GET of a text that comes bit by bit, until the server ends it or goes. Any other answer comes whole."""
        answer = self._asked("GET", target, headers, b"")
        if answer.status == 200 and answer.getheader("Content-Type", "").startswith(STREAMED):
            return self._pieces(answer)
        return self._whole("GET", target, answer)

    def download(self, target: str, headers: Mapping[str, str]) -> RawAnswer | Iterator[bytes]:
        """GET of a file; unlike a stream's end, one before the whole came is an error (NoAnswer)."""
        answer = self._asked("GET", target, headers, b"")
        if answer.status != 200:
            return self._whole("GET", target, answer)
        return self._whole_file(target, answer)

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _once(self, method: str, target: str, headers: Mapping[str, str], body: bytes | Stream) -> RawAnswer:
        return self._whole(method, target, self._asked(method, target, headers, body))

    def _asked(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | Stream
    ) -> http.client.HTTPResponse:
        self._trace(f"> {method} {self.endpoint.url}{target}")
        connection = self._connected(method, target)
        try:
            refused_early = self._send(connection, method, target, headers, body)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise broken(self.endpoint, method, target, error) from error
        answer.will_close = answer.will_close or refused_early
        self._trace(f"< {answer.status} {answer.reason}")
        for name, value in answer.getheaders():
            self._trace(f"< {name.lower()}: {value}")
        return answer

    def _whole(self, method: str, target: str, answer: http.client.HTTPResponse) -> RawAnswer:
        try:
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise broken(self.endpoint, method, target, error) from error
        if answer.will_close:
            self.close()
        return RawAnswer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)

    def _pieces(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        try:
            while piece := answer.read1(PIECE_BYTES):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            self._trace(f"* the stream broke off: {error!r}")
        finally:
            self.close()

    def _whole_file(self, target: str, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        try:
            while piece := answer.read(PIECE_BYTES):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise broken(self.endpoint, "GET", target, error) from error
        finally:
            self.close()

    def _connected(self, method: str, target: str) -> http.client.HTTPConnection:
        if self._open is not None:
            return self._open
        connection = new_connection(self.endpoint)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise unreachable(self.endpoint, method, target, error) from error
        connection.sock.settimeout(READ_TIMEOUT_S)
        notice_silence(connection.sock)
        self._open = connection
        return connection

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | Stream,
    ) -> bool:
        """True when the server stopped listening before all was sent: its answer, which may be there, says why."""
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        length = body.length if isinstance(body, Stream) else len(body)
        if length or method != "GET":
            connection.putheader("Content-Length", str(length))
        connection.endheaders()
        try:
            for chunk in body.chunks if isinstance(body, Stream) else [body]:
                if answered_already(connection.sock):
                    return True
                connection.send(chunk)
        except (BrokenPipeError, ConnectionResetError):
            return True
        return False


def notice_silence(sock: socket.socket) -> None:
    """Let the kernel find out within some ten seconds that nobody is there any more.

    An answer may take hours, and a floating address may move while it is waited for: nobody tells of the end then.
    """
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        if hasattr(socket, name):  # other systems name them otherwise, or have none
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def answered_already(sock: socket.socket) -> bool:
    """Whether the server has said something before it got everything: a no, as nothing else comes so early.

    Not told of TLS, where the server may send records of its own at any time.
    """
    return not isinstance(sock, ssl.SSLSocket) and bool(select.select([sock], [], [], 0)[0])


def new_connection(endpoint: Endpoint) -> http.client.HTTPConnection:
    if endpoint.socket_path:
        return UnixConnection(endpoint.socket_path, CONNECT_TIMEOUT_S)
    if endpoint.scheme == "http":
        return http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=CONNECT_TIMEOUT_S)
    context = ssl.create_default_context()
    if not endpoint.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(endpoint.host, endpoint.port, timeout=CONNECT_TIMEOUT_S, context=context)


def unreachable(endpoint: Endpoint, method: str, target: str, error: OSError) -> NoAnswer:
    """The words for a connection that could not be made. Nothing was sent, so nothing was changed."""
    return NoAnswer(f"{method} {endpoint.url}{target} was not possible: {reason(error)}", help=advice(endpoint, error))


def broken(endpoint: Endpoint, method: str, target: str, error: Exception) -> NoAnswer:
    """The words for a connection that broke off between question and answer."""
    doubt = "the request was sent: look whether the change was made before repeating it"
    if isinstance(error, http.client.BadStatusLine) and not isinstance(error, http.client.RemoteDisconnected):
        doubt = "what listens there speaks no HTTP; is it https, or another port?"
    elif method == "GET":
        doubt = "try again; if it stays so, the log of pvcapid tells more"
    return NoAnswer(f"{method} {endpoint.url}{target} got no answer: {reason(error)}", help=doubt, sent=True)


def reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_TIMEOUT_S} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or error})"
    if isinstance(error, socket.gaierror):
        return "the name is not known"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def advice(endpoint: Endpoint, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "run it as root or as a member of the group pvc, or use a connection with an API key"
    if endpoint.socket_path:
        return "is pvcapid running on this machine? (systemctl status pvcapid)"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "use a certificate this machine trusts, or set PVC_CLIENT_VERIFY_SSL=False to trust any"
    if isinstance(error, ssl.SSLError):
        return "does the API speak TLS there? connections are added with --ssl or --no-ssl"
    if isinstance(error, socket.gaierror):
        return "check the address of the connection (pvc connection list)"
    return "check address and port of the connection (pvc connection list) and that pvcapid runs there"
