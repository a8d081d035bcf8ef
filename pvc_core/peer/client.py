"""Asking one question, of a process on this node or of another node. What may be asked is the business of whoever is
asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pvc_core.errors import Invalid
from pvc_core.peer import local, wire
from pvc_core.peer.frames import Garbage, Gone, Stream
from pvc_core.peer.network import Address
from pvc_core.peer.wire import AnswerHeader, Question, Unreachable


class Reply:
    """`result`, and `body`: the bytes that follow it, as they come.

    Reading `body` raises Unreachable when it breaks off before its end, or nothing came for `idle_s`. close() ends it
    early, from any thread; the other side notices and frees what it holds. Also a context manager.
    """

    def __init__(self, result: dict[str, Any], stream: Stream | None, *, idle_s: float | None, what: str) -> None:
        self.result = result
        self._stream = stream
        self._idle_s = idle_s
        self._what = what
        self.body: Iterator[bytes] = self._read(stream, None) if stream else iter(())

    @property
    def has_body(self) -> bool:
        return self._stream is not None

    def ticking(self, tick_s: float) -> Iterator[bytes]:
        """Like `body` (use one of them), with a b"" each time nothing came for `tick_s`: for who passes it on."""
        return self._read(self._stream, tick_s) if self._stream else iter(())

    def close(self) -> None:
        if self._stream:
            self._stream.close()

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _read(self, stream: Stream, tick_s: float | None) -> Iterator[bytes]:
        try:
            yield from stream.body(self._idle_s, tick_s=tick_s)
        except (Gone, Garbage) as error:
            raise Unreachable(f"the answer to {self._what} broke off: {error}", help="ask again") from error
        finally:
            stream.close()


def ask(
    whom: Path | str | Address,
    name: str,
    args: Mapping[str, Any] | None = None,
    *,
    body: Iterable[bytes] | None = None,
    deadline_s: float = 10.0,
    idle_s: float | None = None,
) -> Reply:
    """Ask whoever listens at the socket `whom`, or the node at that address, the question `name`.

    `body` is sent after the question (b"" items are left out). `deadline_s` limits the connecting, each stall while
    sending, and the wait for the answer after the last byte was sent. `idle_s` limits each wait for a piece of the
    answer's body (None: a console may be silent for hours).
    Raises whatever error of pvc_core.errors the other side answered with; Unreachable (nobody there, no answer in time;
    what was asked may have happened); InternalError; and what iterating over `body` raises.
    """
    sock = whom.connect(deadline_s) if isinstance(whom, Address) else local.connect(Path(whom), deadline_s)
    stream = Stream(sock)
    question = Question(ask=name, args=dict(args or {}), body=body is not None)
    try:
        return _exchange(stream, question, body, deadline_s, idle_s, f"{name!r} at {whom}")
    except BaseException:  # an interruption too: what was begun is undone, and it is raised on
        stream.close()
        raise


def _exchange(
    stream: Stream,
    question: Question,
    body: Iterable[bytes] | None,
    deadline_s: float,
    idle_s: float | None,
    what: str,
) -> Reply:
    cut = _send(stream, question, body, deadline_s)
    try:
        header = wire.decode_answer(stream.receive(deadline_s))
    except (Gone, Garbage, Invalid) as error:
        raise Unreachable(
            f"no answer to {what}: {cut or error}", help="what was asked may have happened all the same: look"
        ) from error
    if not header.ok:
        raise wire.error_of(header)
    return _reply(header, stream, idle_s, what)


def _send(stream: Stream, question: Question, body: Iterable[bytes] | None, wait_s: float) -> Gone | None:
    """Send it all, or until the other side answers or closes: it may refuse before it has read everything."""
    try:
        stream.send(wire.encode(question), wait_s)
        for piece in body or ():
            if not stream.wait_writable(wait_s):
                return None
            stream.send_piece(piece, wait_s)
        if body is not None:
            stream.end_body(wait_s)
    except Gone as error:
        return error
    return None


def _reply(header: AnswerHeader, stream: Stream, idle_s: float | None, what: str) -> Reply:
    if header.body:
        return Reply(header.result, stream, idle_s=idle_s, what=what)
    stream.close()
    return Reply(header.result, None, idle_s=idle_s, what=what)
