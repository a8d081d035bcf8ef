"""A line to a guest, both ways at once: its serial console, or its screen. Who may have one, for how long, and how it
travels to a client is the API's business.

What the guest says comes as bytes of a node (`console`, `screen`), what is typed goes to it in questions of its own
(`console_write`, `screen_write`): a question is answered once, and the peer channel stays as simple as that.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from pvc_core.clock import Clock
from pvc_core.errors import NotFound, PvcError, Refused, Retry
from pvc_core.services.desk import Desk, Reply
from pvc_core.services.following import LogFlow
from pvc_core.services.pictures import VmPicture

ARRIVE_S, SWITCH_S = 10.0, 3.0
"""What was typed is tried again for so long: while nobody answers, and while the guest's node says it is not there (it
moves, and its next node takes it).
"""
AGAIN_S = 0.3
DOUBT_S = 1.0
"""Who answers later than that may have typed it: it is not typed twice."""
ASK_S = 5.0
TICK_S, BURST_S = 0.5, 2.0


class Line(Protocol):
    """Closed from any thread; iterated over in one, written to in another."""

    def __iter__(self) -> Iterator[bytes]:
        """What the guest says; b"" when nothing came for a moment."""
        ...

    def write(self, data: bytes) -> str:
        """Give it to the guest. Returns "" or the sentence why it did not arrive."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class ConsoleLine:
    """The serial console: what is said goes on where the guest moves to, and so does what is typed."""

    flow: LogFlow
    clock: Clock
    ask: Callable[..., Any]
    uuid: str
    holder: Callable[[], str]
    """The node that has the guest now, or ""."""
    _closed: threading.Event = field(default_factory=threading.Event)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.flow)

    def write(self, data: bytes) -> str:
        """Each piece waits until the guest's node has it, so that nothing is typed twice or out of order."""
        began_s = self.clock.boottime_s()
        while True:
            asked_s = self.clock.boottime_s()
            try:
                self._type(data)
            except (Retry, NotFound) as error:
                now_s = self.clock.boottime_s()
                patience_s = SWITCH_S if isinstance(error, NotFound) else ARRIVE_S
                if now_s - asked_s > DOUBT_S or now_s - began_s > patience_s or self._closed.is_set():
                    return error.message
                self._closed.wait(AGAIN_S)
            except PvcError as error:
                return error.message
            else:
                return ""

    def close(self) -> None:
        self._closed.set()
        self.flow.close()

    def _type(self, data: bytes) -> None:
        node = self.holder()
        if not node:
            raise NotFound("it runs nowhere")
        self.ask(node, "console_write", {"uuid": self.uuid}, body=[data], deadline_s=ASK_S)


@dataclass(slots=True)
class ScreenLine:
    """A connection to the VNC server of a guest: bytes of RFB (RFC 6143) as they are. It ends when the guest moves."""

    reply: Reply
    ask: Callable[..., Any]
    node: str
    session: str
    _closed: threading.Event = field(default_factory=threading.Event)
    _typed: queue.SimpleQueue[bytes | None] = field(default_factory=queue.SimpleQueue)
    _typing: threading.Thread | None = None
    _failed: str = ""

    def __iter__(self) -> Iterator[bytes]:
        """Raises Retry when the connection to its node breaks off."""
        try:
            yield from self.reply.ticking(TICK_S)
        except Retry:
            if not self._closed.is_set():
                raise
        finally:
            self.close()

    def write(self, data: bytes) -> str:
        """Queued: pictures and mouse do not wait for each other. Only from one thread."""
        if self._closed.is_set() or self._failed:
            return self._failed or "the screen is closed"
        self._typed.put(data)
        if self._typing is None or not self._typing.is_alive():
            self._typing = threading.Thread(target=self._carry, name="screen", daemon=True)
            self._typing.start()
        return ""

    def close(self) -> None:
        self._closed.set()
        self._typed.put(None)
        self.reply.close()

    def _carry(self) -> None:
        """A question for each time of moving and typing; ended when nothing comes for a while, begun again when it
        does. Its thread lives as long as the line, once something was typed.
        """
        while (first := self._typed.get()) is not None:
            try:
                args = {"session": self.session}
                self.ask(self.node, "screen_write", args, body=self._burst(first), deadline_s=ASK_S)
            except PvcError as error:
                self._failed = error.message
                self.close()
                return

    def _burst(self, first: bytes) -> Iterator[bytes]:
        yield first
        while not self._closed.is_set():
            try:
                data = self._typed.get(timeout=BURST_S)
            except queue.Empty:
                return
            if data is None:
                self._typed.put(None)
                return
            yield data


def open_screen(desk: Desk, vm: VmPicture) -> ScreenLine:
    """Raises Refused when it does not run or has no screen, Retry when its node does not answer."""
    if not vm.node or not vm.runs:
        raise Refused(f"VM {vm.wanted.name} does not run, so it has no screen", help="pvc vm start starts it")
    reply = desk.ask(vm.node, "screen", {"uuid": vm.wanted.uuid}, deadline_s=ASK_S)
    return ScreenLine(reply, desk.ask, vm.node, str(reply.result["session"]))
