"""A log followed without gaps or repeats, wherever it goes on: after a restart of the daemon that reads it out, and on
the next node of a guest that moves.

The node tells where in its log the first byte stands, so that after an interruption the follower asks for the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pvc_core.clock import Clock
from pvc_core.errors import PvcError, Retry
from pvc_core.services.desk import Reply

TICK_S = 0.5
AGAIN_S = 0.5
TELL_S = 5.0
"""A daemon that restarts is back before that, and need not be mentioned."""
GIVE_UP_S = 300.0

Ask = Callable[[str, Mapping[str, Any]], Reply]
"""ask(node, args): the log's question, put to a node. Raises Retry when the node does not answer."""


class LogFlow:
    """Bytes as they come, b"" now and then when none do. Also a `Flow` for the API: close() from any thread.

    `unit` counts what positions count in a piece (bytes, or lines); `moved(node)` is the node that has the log now
    if it is another, else "". What is ours in the text stands in a line of its own, in [pvc: ...].
    """

    def __init__(
        self,
        ask: Ask,
        node: str,
        *,
        lines: int,
        by_lines: bool,
        clock: Clock,
        moved: Callable[[str], str] = lambda node: "",
        before: bytes = b"",
        newline: bytes = b"\n",
    ) -> None:
        """`before`: what other nodes' logs had, shown first; what is asked for then begins where the guest came.
        `newline` ends what is ours in the text: a terminal in raw mode needs "\\r\\n".

        Raises what `ask` raises: a log that cannot be had at all is no stream.
        """
        self._ask, self._node, self._by_lines, self._clock, self._moved = ask, node, by_lines, clock, moved
        self._closed = threading.Event()
        self._position: int | None = None
        self._line_bytes = 0
        """How many bytes of an unfinished line were passed on."""
        self._skip = 0
        self._before, self._newline = before, newline
        self._reply = self._begin({"lines": 0, "arrived": True} if before else {"lines": lines})

    def __iter__(self) -> Iterator[bytes]:
        """Raises Retry when the log cannot be had for GIVE_UP_S."""
        try:
            if self._before:
                yield self._before
            while not self._closed.is_set():
                yield from self._until_it_breaks()
                if not self._closed.is_set():
                    yield from self._go_on()
        finally:
            self.close()

    def close(self) -> None:
        self._closed.set()
        self._reply.close()

    def _begin(self, how: Mapping[str, Any]) -> Reply:
        reply = self._ask(self._node, {**how, "follow": True})
        found = reply.result.get("position")
        self._position = int(found) if found is not None and int(found) >= 0 else None
        self._skip = self._line_bytes if self._by_lines and "position" in how else 0
        return reply

    def _until_it_breaks(self) -> Iterator[bytes]:
        try:
            for piece in self._reply.ticking(TICK_S):
                if self._closed.is_set():
                    return
                if piece:
                    yield self._taken(piece)
                elif self._moved(self._node):
                    return  # and all that was written here has been passed on
                else:
                    yield b""
        except Retry:
            return

    def _taken(self, piece: bytes) -> bytes:
        rest, self._skip = piece[self._skip :], max(0, self._skip - len(piece))
        if self._position is not None:
            self._position += piece.count(b"\n") if self._by_lines else len(piece)
        if rest:
            ended = rest.rfind(b"\n")
            self._line_bytes = len(rest) - ended - 1 if ended >= 0 else self._line_bytes + len(rest)
        return rest

    def _go_on(self) -> Iterator[bytes]:
        """Ask again until it is answered, by the node that has the log then."""
        since_s, told = self._clock.boottime_s(), False
        self._reply.close()
        while not self._closed.is_set():
            to = self._moved(self._node)
            if to:
                yield self._note(f"it moved from {self._node} to {to}, where its log goes on")
                self._node, self._position, self._line_bytes = to, None, 0
            try:
                self._reply = self._begin(self._where())
                return
            except Retry as error:
                silent_s = self._clock.boottime_s() - since_s
                if silent_s > GIVE_UP_S:
                    raise Retry(f"the log on {self._node} could not be had for {silent_s:.0f} s: {error}") from error
                if silent_s > TELL_S and not told:
                    told = True
                    yield self._note(f"{self._node} does not answer; the log goes on when it does")
            except PvcError as error:
                yield self._note(f"the log ends here: {error.message}")
                self._closed.set()
                return
            self._closed.wait(AGAIN_S)
            yield b""

    def _where(self) -> Mapping[str, Any]:
        if self._position is not None:
            return {"lines": 0, "position": self._position}
        return {"lines": 0, "arrived": True}

    def _note(self, text: str) -> bytes:
        return (self._newline if self._line_bytes else b"") + f"[pvc: {text}]".encode() + self._newline
