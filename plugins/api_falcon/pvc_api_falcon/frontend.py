"""Listens at the port and at the socket, in one process and one loop, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from pvc_api_falcon.app import Dispatcher, build_app
from pvc_api_falcon.certificate import harden, keep_current
from pvc_api_falcon.door import App, Door
from pvc_api_falcon.protocol import limited_protocol
from pvc_api_falcon.settings import Settings
from pvc_api_falcon.sockets import listen_tcp, listen_unix
from pvc_core.contracts.frontend import Frontend
from pvc_core.errors import Permanent, PvcError
from pvc_core.services import Services
from pvc_core.units import KIB

KEEP_ALIVE_S = 75
"""Longer than the pauses of clients that poll, so that they do not meet a connection just being closed."""
WORDS_MAX = 256 * KIB
"""The longest message of a websocket's client: a long paste is several."""
GOODBYE_S = 1.0
"""For telling those at consoles and screens why they end; longer only a client takes that reads nothing."""


class FalconFrontend(Frontend):
    def __init__(self, settings: Settings, services: Services, log: Any) -> None:
        self._settings, self._services, self._log = settings, services, log
        self._lock = threading.RLock()  # stop() may be called by a signal handler, in the middle of anything
        self._loop: asyncio.AbstractEventLoop | None = None
        self._servers: list[Server] = []
        self._dispatcher: Dispatcher | None = None
        self._stopped = False
        self._renewing: asyncio.Future[None] | None = None
        self._leaving: asyncio.Future[None] | None = None
        self.port = 0
        """Where it listens, once `ready` is set."""
        self.ready = threading.Event()

    def serve(self) -> None:
        listeners = self._listen()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(listeners))
        finally:
            for sock, _ in listeners:
                sock.close()
            if self._settings.socket:
                Path(self._settings.socket).unlink(missing_ok=True)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._end)

    def _listen(self) -> list[tuple[socket.socket, bool]]:
        """(socket, whether it is the local one). Raises Permanent, and leaves nothing open then."""
        tcp = listen_tcp(self._settings.listen, self._settings.port)
        self.port = tcp.getsockname()[1]
        try:
            self._config(_nobody, local=False).load()
            local = [(listen_unix(Path(self._settings.socket)), True)] if self._settings.socket else []
        except (OSError, ssl.SSLError) as error:
            tcp.close()
            files = f"{self._settings.certificate} and {self._settings.certificate_key}"
            raise Permanent(
                f"the certificate and key in {files} cannot be used: {error}",
                help="both must be PEM, readable, and a pair",
            ) from error
        except Permanent:
            tcp.close()
            raise
        return [(tcp, False), *local]

    async def _serve(self, listeners: list[tuple[socket.socket, bool]]) -> None:
        dispatcher = Dispatcher(self._settings, self._services, self._log)
        app = build_app(dispatcher)
        servers = [
            (Server(self._config(self._door(app, local, dispatcher.sessions), local=local)), sock)
            for sock, local in listeners
        ]
        with self._lock:
            self._loop, self._dispatcher = asyncio.get_running_loop(), dispatcher
            self._servers = [server for server, _ in servers]
            if self._stopped:
                return
        for server, _ in servers:
            server.config.load()
            if server.config.ssl is not None:
                harden(server.config.ssl)
                files = self._settings.certificate, self._settings.certificate_key
                every_s = self._settings.certificate_look_s
                self._renewing = asyncio.ensure_future(
                    keep_current(server.config.ssl, *files, self._log, every_s=every_s)
                )
        running = [asyncio.ensure_future(server.serve(sockets=[sock])) for server, sock in servers]
        while not all(server.started for server, _ in servers) and not any(one.done() for one in running):
            await asyncio.sleep(0.01)
        self._log.info("the API listens", address=self._settings.listen, port=self.port, socket=self._settings.socket)
        self.ready.set()
        await asyncio.gather(*running)
        with contextlib.suppress(PvcError):  # the log has it
            self._services.audit.flush()

    def _end(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.end()
        self._leaving = asyncio.ensure_future(self._leave())

    async def _leave(self) -> None:
        """Consoles and screens first: the server would close them without a word."""
        if self._dispatcher is not None:
            await self._dispatcher.sessions.said_goodbye(GOODBYE_S)
        for server in self._servers:
            server.should_exit = True

    def _door(self, app: Any, local: bool, sessions: Any) -> App:
        within_s = self._settings.body_within_s
        return Door(app, local=local, log=self._log, within_s=within_s, sessions=sessions)

    def _config(self, app: App, *, local: bool) -> uvicorn.Config:
        tls = {} if local or not self._settings.certificate else {
            "ssl_certfile": self._settings.certificate, "ssl_keyfile": self._settings.certificate_key,
        }  # fmt: skip
        return uvicorn.Config(
            app, http=limited_protocol(self._settings), ws="websockets-sansio",
            ws_max_size=WORDS_MAX, ws_per_message_deflate=False, lifespan="off", interface="asgi3", loop="none",
            log_config=None, log_level="warning", access_log=False, server_header=False, proxy_headers=False,
            backlog=1024, timeout_keep_alive=KEEP_ALIVE_S, limit_concurrency=self._settings.connections,
            timeout_graceful_shutdown=math.ceil(self._settings.stop_within_s), **tls,  # type: ignore[arg-type]  # strings
        )  # fmt: skip


class Server(uvicorn.Server):
    """Signals are the daemon's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _nobody(scope: Any, receive: Any, send: Any) -> None:
    """Stands in for the app while the certificate is being tried."""
