"""One client's connection: cuts the stream into packets, opens or resumes the session, and passes requests on.

Protocol: org.apache.zookeeper.server.NIOServerCnxn and ZooKeeperServer.processConnectRequest, ZooKeeper 3.8.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, cast

from pvc_core.store.codes import Code
from pvc_core.store.embedded import protocol
from pvc_core.store.embedded.protocol import Declined, Malformed, Op, Reader
from pvc_core.store.embedded.rights import Identities
from pvc_core.store.embedded.sessions import Session

if TYPE_CHECKING:
    from pvc_core.store.embedded.server import Server

_log = logging.getLogger(__name__)

_UNREAD_MAX_BYTES = 64 * 1024 * 1024
"""A client that does not read its answers and events is cut off here; it reads everything anew when it comes back."""

_VERSION = "3.8.0-pvcstored"


class Connection(asyncio.Protocol):
    """Also what a watch tells, and who asks a request (see requests.Asker)."""

    def __init__(self, server: Server) -> None:
        self.identities: Identities = set()
        self._server = server
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._unparsed = bytearray()
        self._closing = False

    @property
    def session_id(self) -> int:
        return self._session.id if self._session else 0

    def send(self, packets: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(packets)
        if self._closing:
            self._transport.close()
        elif self._transport.get_write_buffer_size() > _UNREAD_MAX_BYTES:
            _log.warning("session %#x does not read what it is sent, its connection is cut", self.session_id)
            self._transport.abort()

    def hang_up(self) -> None:
        if self._transport:
            self._transport.close()

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.watches.drop(self)
        if self._session and self._session.connection is self:
            self._session.connection = None
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._unparsed += data
        try:
            while not self._closing and (packet := self._next_packet()) is not None:
                self._take(packet)
        except Malformed as error:
            _log.warning("session %#x: connection closed, %s", self.session_id, error)
            self.hang_up()

    # packets

    def _next_packet(self) -> bytes | None:
        if len(self._unparsed) < 4:
            return None
        if self._session is None and self._unparsed[:4].isalpha():
            self._answer_command(bytes(self._unparsed[:4]))
            return None
        size = int.from_bytes(self._unparsed[:4], "big", signed=True)
        if not 0 <= size <= protocol.PACKET_MAX_BYTES:
            raise Malformed(f"a packet of {size} bytes is more than {protocol.PACKET_MAX_BYTES}")
        if len(self._unparsed) < 4 + size:
            return None
        packet = bytes(self._unparsed[4 : 4 + size])
        del self._unparsed[: 4 + size]
        return packet

    def _take(self, packet: bytes) -> None:
        if self._session is None:
            self._open(Reader(packet))
            return
        self._session.heard_s = time.monotonic()
        head = Reader(packet[:8])
        xid, op = head.number(), head.number()
        if op == Op.CLOSE:
            self._closing = True
            self._server.end_session(self._session, self, xid)
        elif op == Op.AUTH:
            self._identify(xid, packet[8:])
        elif op != Op.PING and self._server.door.locked and not self.identities:
            self._server.submit_work(self, xid, _no_auth)
        else:
            self._server.submit(self, xid, op, packet[8:])

    def _open(self, reader: Reader) -> None:
        """Connect: protocol version, last zxid seen, timeout in ms, session id (0: a new one), password."""
        reader.number(), reader.long()
        timeout_s, session_id, password = reader.number() / 1000, reader.long(), reader.buffer() or b""
        sessions, now_s = self._server.sessions, time.monotonic()
        if session_id:
            session = sessions.resume(session_id, password, timeout_s, now_s)
        else:
            session = sessions.open(timeout_s, now_s)
        if session is None:
            self._closing = True
            self.send(protocol.connected(0, 0, bytes(16)))
            return
        if isinstance(session.connection, Connection):
            session.connection.hang_up()
        session.connection = self
        self._session = session
        self.send(protocol.connected(int(session.timeout_s * 1000), session.id, session.password))

    def _identify(self, xid: int, body: bytes) -> None:
        """Auth: type (always 0), scheme, proof. Who fails is told and cut off."""
        reader = Reader(body)
        reader.number()
        scheme, proof = reader.string(), reader.buffer() or b""
        try:
            names = self._server.door.identify(scheme, proof)
        except Declined:
            user = proof.partition(b":")[0][:40]
            _log.warning("session %#x: credentials of user %r refused", self.session_id, user.decode(errors="replace"))
            self._closing = True
            self._server.submit_work(self, xid, _auth_failed)
            if self._session:
                self._server.end_session(self._session)
            return
        self.identities = self.identities | names
        self._server.submit_work(self, xid, bytes)

    def _answer_command(self, command: bytes) -> None:
        """The probes an operator sends by hand: ruok, srvr, envi."""
        answers = {
            b"ruok": "imok",
            b"srvr": f"Zookeeper version: {_VERSION}\nMode: standalone\nNode count: {len(self._server.tree)}\n",
            b"envi": f"Environment:\nzookeeper.version={_VERSION}, built on 01/01/2026 00:00 UTC\n",
        }
        self._closing = True
        self._unparsed.clear()
        self.send(answers.get(command, f"{command.decode()} is not known here; ruok, srvr and envi are\n").encode())


def _no_auth() -> bytes:
    raise Declined(Code.NO_AUTH)


def _auth_failed() -> bytes:
    raise Declined(Code.AUTH_FAILED)
