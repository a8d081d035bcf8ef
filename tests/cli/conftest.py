"""A small real HTTP server that answers the wire's samples and remembers what it was asked, and a way to run `pvc`."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from pvc_cli.main import run

HERE = Path(__file__).parent
BASE = "/api/v1"
KEY = "a-key-nobody-may-see-in-a-list"


@dataclass
class Request:
    """As it came in. `query` and `form` map a name to its values."""

    method: str
    path: str
    query: dict[str, list[str]]
    form: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class FakeApi:
    """Answers from `routes`: a reply, a list of replies (the last one stays), or a function of the request."""

    def __init__(self, samples: dict[str, Any]) -> None:
        self.samples = samples
        self.requests: list[Request] = []
        self.routes: dict[str, Any] = {}
        for name, sample in samples.items():
            method, path = name.split()[:2]
            if method == "GET" and " without " not in name:
                self.routes.setdefault(f"GET {path.partition('?')[0]}", Reply(sample["status"], sample["body"]))

    def on(self, route: str, *replies: Any) -> None:
        self.routes[route] = list(replies) if len(replies) > 1 else replies[0]

    def sample(self, name: str) -> Reply:
        return Reply(self.samples[name]["status"], self.samples[name]["body"])

    @property
    def last(self) -> Request:
        return self.requests[-1]

    def asked(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]

    def answer(self, request: Request) -> Reply:
        if request.path != "/events":  # a bell for who waits; what is asked does not hang on it
            self.requests.append(request)
        found = self.routes.get(f"{request.method} {request.path}")
        if callable(found):
            found = found(request)
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if found is not None:
            return found
        if request.method == "GET":
            return Reply(404, {"message": f"There is no {request.path}.", "code": "not_found", "help": ""})
        return Reply(200, {"message": "It is done."})


def handler_for(api: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            kind = self.headers.get("Content-Type", "")
            form = parse_qs(body.decode(), keep_blank_values=True) if "urlencoded" in kind else {}
            request = Request(
                self.command,
                unquote(parts.path.removeprefix(BASE)),
                parse_qs(parts.query, keep_blank_values=True),
                form,
                {name.lower(): value for name, value in self.headers.items()},
                body,
            )
            answer = api.answer(request)
            data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = reply

        def address_string(self) -> str:
            return "test"

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def serve(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def api() -> FakeApi:
    return FakeApi(json.loads((HERE / "samples.json").read_text()))


@pytest.fixture
def api_url(api: FakeApi) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(api))
    server.daemon_threads = True
    for _ in serve(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


@pytest.fixture
def api_socket(api: FakeApi, tmp_path: Path) -> Iterator[Path]:
    class UnixServer(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    path = tmp_path / "api.sock"
    for _ in serve(UnixServer(str(path), handler_for(api))):
        yield path


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def pvc_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Any) -> Callable[..., Result]:
    """Run `pvc ARGS...` as a user with an empty home, without any cluster on this machine."""
    for name in [name for name in os.environ if name.startswith("PVC_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PVC_API_SOCKET", str(tmp_path / "no.sock"))

    def call(*argv: str, typed: str = "") -> Result:
        source = tmp_path / "typed"
        source.write_text(typed)
        capfd.readouterr()
        with source.open() as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            code = run(argv)
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture
def pvc(pvc_alone: Callable[..., Result], api_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `pvc ARGS...` against the test's API."""
    monkeypatch.setenv("PVC_API_URL", api_url)
    monkeypatch.setenv("PVC_API_KEY", KEY)
    return pvc_alone


@pytest.fixture
def hanging_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], list[bytes]]]:
    """Makes the API a server that says these bytes to whatever it is asked, and hangs up; gives what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(says: bytes) -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return  # the test is over
                with peer:
                    asked.append(peer.recv(1000))
                    peer.sendall(says)

        threads: list[threading.Thread] = []

        def start(says: bytes) -> list[bytes]:
            threads.append(threading.Thread(target=serve, args=(says,)))
            threads[-1].start()
            monkeypatch.setenv("PVC_API_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
            return asked

        yield start
        server.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
