"""A server on a socket of its own for each test, with the questions the tests ask."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pvc_core.errors import Invalid, PvcError, Refused, Retry, StoreUnavailable
from pvc_core.peer import Answer, PeerServer


class Asked:
    """The handlers, and what they saw: tests look at the effects."""

    def __init__(self) -> None:
        self.freed = threading.Event()
        self.uploads: list[str] = []
        self.endless_pieces = 0

    def handlers(self) -> dict[str, Callable[[Mapping[str, Any], Iterator[bytes]], Answer]]:
        return {
            "echo": lambda args, body: Answer(dict(args)),
            "upload": self.upload,
            "refuse-upload": self.refuse_upload,
            "export": lambda args, body: Answer({"size": args["size"]}, _pieces(args["size"], args["piece"])),
            "console": lambda args, body: Answer({}, self.console()),
            "endless": lambda args, body: Answer({}, self.endless()),
            "half": lambda args, body: Answer({}, self.half()),
            "fail": self.fail,
            "unencodable": lambda args, body: Answer({"what": object()}),
            "too-long": lambda args, body: Answer({"what": "x" * 2_000_000}),
            "sleep": self.sleep,
        }

    def upload(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        digest, size = hashlib.sha256(), 0
        try:
            for piece in body:
                digest.update(piece)
                size += len(piece)
        except PvcError as error:
            self.uploads.append(f"thrown away: {error.message}")
            self.freed.set()
            raise
        self.uploads.append(digest.hexdigest())
        return Answer({"sha256": digest.hexdigest(), "size": size})

    def refuse_upload(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        next(body)
        raise Refused("volume db is in use", help="stop its VM first")

    def console(self) -> Iterator[bytes]:
        """A console on which one line came and then nothing more."""
        try:
            yield b"login: "
            while True:
                time.sleep(0.05)
                yield b""
        finally:
            self.freed.set()

    def endless(self) -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
                self.endless_pieces += 1
        finally:
            self.freed.set()

    def half(self) -> Iterator[bytes]:
        yield b"half"
        raise OSError("the disk went away")

    def fail(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        match args["how"]:
            case "invalid":
                raise Invalid("no", help="try yes", fields={"name": "is empty"})
            case "retry":
                raise Retry("not now", again_in_s=7.5)
            case "store":
                raise StoreUnavailable("no answer", maybe_written=True)
            case "own":
                raise OwnRefused("a subclass nobody knows")
        raise ZeroDivisionError("secret detail")

    def sleep(self, args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        time.sleep(args["s"])
        return Answer()


class OwnRefused(Refused):
    code = "own"


def _pieces(size: int, piece: int) -> Iterator[bytes]:
    while size:
        count = min(size, piece)
        yield b"p" * count
        size -= count


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def serve(tmp_path: Path, asked: Asked) -> Iterator[Callable[..., Path]]:
    """serve(**options) starts a server and returns its path; it is stopped after the test."""
    servers: list[PeerServer] = []

    def start(**options: Any) -> Path:
        path = tmp_path / "node.sock"
        server = PeerServer(path, asked.handlers(), **options)
        server.start()
        servers.append(server)
        return path

    yield start
    for server in servers:
        server.stop()
        assert server.open_count == 0, "a connection was not freed"


@pytest.fixture
def path(serve: Callable[..., Path]) -> Path:
    return serve()
