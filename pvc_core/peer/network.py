"""The transport between nodes: TCP on the cluster network, mutual TLS 1.3 (RFC 8446) with the cluster's certificates.

Who shows no certificate may ask what strangers may (how to join); a certificate of the cluster names its node. Which
node lives where, and whose certificate is no longer taken, is told by the callers.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from pvc_core.errors import Permanent, Refused
from pvc_core.peer.answering import Handler
from pvc_core.peer.frames import Gone
from pvc_core.peer.server import Server
from pvc_core.peer.wire import Unreachable

PORT = 7371
HANDSHAKE_S = 5.0
_BACKLOG = 128
_IP_FREEBIND = 15
"""ip(7); Python's socket has no name for it."""
_DEAD_S = 10
"""A node whose power went is noticed after so long, also on a stream on which nothing is sent."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The contexts of one node (or, without a certificate of its own, of a stranger). Built once: it reads files."""

    client: ssl.SSLContext = field(repr=False)
    server: ssl.SSLContext | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Address:
    """A node and where it answers; connect() takes nobody else's certificate for it. `node` None: any, unchecked."""

    node: str | None
    host: str
    port: int
    identity: Identity = field(repr=False)

    def __str__(self) -> str:
        return f"{self.node or 'a node'} ({self.host}:{self.port})"

    def connect(self, wait_s: float) -> socket.socket:
        """A connected socket. Raises Unreachable."""
        try:
            plain = socket.create_connection((self.host, self.port), wait_s)
        except OSError as error:
            raise Unreachable(
                f"cannot ask {self}: {_why(error)}", help="is the node up, and pvcnoded running?"
            ) from error
        try:
            _keep_alive(plain)
            return self.identity.client.wrap_socket(plain, server_hostname=self.node or self.host)
        except ssl.SSLCertVerificationError as error:
            plain.close()
            raise Unreachable(
                f"cannot ask {self}: it is somebody else: {error.verify_message}",
                help="does that address belong to another node, or to another cluster?",
            ) from error
        except OSError as error:
            plain.close()
            raise Unreachable(f"cannot ask {self}: {_why(error)}", help="look at the log of its pvcnoded") from error


def node_identity(ca: Path, certificate: Path, key: Path) -> Identity:
    """Raises Permanent when one of the files is missing or wrong."""
    try:
        client = _client(ca.read_text())
        client.load_cert_chain(certificate, key)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.minimum_version = ssl.TLSVersion.TLSv1_3
        server.load_cert_chain(certificate, key)
        server.load_verify_locations(ca)
        server.verify_mode = ssl.CERT_OPTIONAL
        # A ticket after the handshake would look like an answer to who only looks whether something came.
        server.num_tickets = 0
    except (OSError, ValueError) as error:
        raise Permanent(
            f"this node's certificate cannot be used: {error}", help=f"{ca.parent} must hold ca.crt, node.crt, node.key"
        ) from error
    return Identity(client, server)


def stranger(ca: str | None) -> Identity:
    """Of a node that has no certificate yet. `ca` is the authority it trusts; None believes anybody: only to be told
    the authority's certificate, which is then compared with the fingerprint in a token.
    """
    if ca is not None:
        return Identity(_client(ca))
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    return Identity(trusting)


class NetworkServer(Server):
    """Answers nodes of the cluster `handlers` and everybody else `for_strangers`, on one address.

    `objection(node, serial)` says why that certificate (its number in hex) is not answered, "" if nothing is wrong.
    The address need not be there yet: the cluster network may come up after the daemon.
    """

    def __init__(
        self,
        host: IPv4Address | IPv6Address,
        port: int,
        identity: Identity,
        handlers: Mapping[str, Handler],
        *,
        for_strangers: Mapping[str, Handler],
        objection: Callable[[str, str], str],
        max_connections: int = 128,
        idle_s: float = 30.0,
    ) -> None:
        super().__init__(f"{host}:{port}", max_connections=max_connections, idle_s=idle_s)
        self._host, self._port, self._identity = host, port, identity
        self._handlers, self._for_strangers = dict(handlers), dict(for_strangers)
        self._objection = objection
        self._socket: socket.socket | None = None

    def _listen(self) -> socket.socket:
        family = socket.AF_INET if self._host.version == 4 else socket.AF_INET6
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            level = socket.IPPROTO_IP if self._host.version == 4 else socket.IPPROTO_IPV6
            listening.setsockopt(level, _IP_FREEBIND if self._host.version == 4 else 78, 1)
            listening.bind((str(self._host), self._port))
            listening.listen(_BACKLOG)
        except OSError as error:
            listening.close()
            raise Permanent(
                f"pvcnoded cannot listen at {self._host} port {self._port}: {error.strerror}",
                help="does something else use that port? peer.port in pvc.yaml chooses another, the same on all nodes",
            ) from error
        self._socket = listening
        return listening

    def _unlisten(self) -> None:
        if self._socket:
            self._socket.close()

    def _dress(self, sock: socket.socket) -> socket.socket:
        assert self._identity.server
        _keep_alive(sock)
        return self._identity.server.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

    def _greet(self, sock: socket.socket) -> Mapping[str, Handler]:
        assert isinstance(sock, ssl.SSLSocket)
        try:
            sock.settimeout(HANDSHAKE_S)
            sock.do_handshake()
        except OSError as error:
            raise Gone(_why(error)) from error
        shown = sock.getpeercert()
        if not shown:
            return self._for_strangers
        node, serial = _name(shown), f"{int(str(shown.get('serialNumber', '0')), 16):x}"
        if why := self._objection(node, serial):
            raise Refused(why, help="`pvcnoded join` with a new token makes it a member again")
        return self._handlers


def _client(ca: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca)
    return context


def _name(certificate: Mapping[str, object]) -> str:
    names = certificate.get("subjectAltName", ())
    assert isinstance(names, tuple)
    return next((str(name) for kind, name in names if kind == "DNS"), "")


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _DEAD_S // 2)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _DEAD_S // 2)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_S * 1000)


def _why(error: OSError) -> str:
    match error:
        case ConnectionRefusedError():
            return "nobody listens there"
        case TimeoutError():
            return "it does not answer"
        case ssl.SSLError():
            return error.reason or str(error)
        case _:
            return error.strerror or str(error)
