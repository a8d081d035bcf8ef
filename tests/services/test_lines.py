"""What is typed into a console arrives once, wherever the guest is; a screen's typing costs one question a burst."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pvc_core.errors import NotFound, PvcError, Refused, Retry
from pvc_core.services import lines
from pvc_core.services.lines import ConsoleLine, ScreenLine
from pvc_core.testing.clock import FakeClock


class Guest:
    """It is on hv1 until it moves; each node says what it is told to."""

    def __init__(self) -> None:
        self.clock, self.node, self.typed = FakeClock(), "hv1", b""
        self.errors: dict[str, PvcError] = {}
        self.takes_s = 0.0
        self.asked = 0

    def ask(self, node: str, what: str, args: Mapping[str, Any], *, body: Iterable[bytes], deadline_s: float) -> None:
        self.asked += 1
        self.clock.move(self.takes_s)
        if node in self.errors:
            if self.asked == 3:
                self.node = "hv2"
            raise self.errors[node]
        self.typed += b"".join(body)

    def line(self) -> ConsoleLine:
        flow = SimpleNamespace(close=lambda: None)
        line = ConsoleLine(cast(Any, flow), self.clock, self.ask, "u", lambda: self.node)
        line._closed = cast(Any, SimpleNamespace(wait=self.clock.move, is_set=lambda: False, set=lambda: None))
        return line


@pytest.mark.parametrize("error", [NotFound("it does not run here"), Retry("nobody answers")])
def test_what_is_typed_while_it_moves_reaches_the_next_node(error: PvcError) -> None:
    guest = Guest()
    guest.errors["hv1"] = error
    assert guest.line().write(b"ls\r") == ""
    assert (guest.typed, guest.asked) == (b"ls\r", 4)


def test_what_may_have_been_typed_is_not_typed_twice() -> None:
    guest = Guest()
    guest.errors["hv1"], guest.takes_s = Retry("no answer in time"), lines.DOUBT_S + 1
    assert guest.line().write(b"rm x\r") == "no answer in time"
    assert guest.asked == 1


@pytest.mark.parametrize(("error", "asked"), [(NotFound("it is off"), 2), (Refused("it reads nothing"), 1)])
def test_what_cannot_arrive_is_said_soon(error: PvcError, asked: int) -> None:
    guest = Guest()
    guest.errors |= {"hv1": error, "hv2": error}
    assert guest.line().write(b"x") == error.message
    assert asked <= guest.asked < 20 and guest.clock.boottime_s() < 1000 + lines.ARRIVE_S


def test_it_runs_nowhere() -> None:
    guest = Guest()
    guest.node = ""
    assert guest.line().write(b"x") == "it runs nowhere" and guest.asked == 0


class Screen:
    def __init__(self) -> None:
        self.bursts: list[bytes] = []
        self.closed = threading.Event()
        self.result = {"session": "s"}

    def ask(self, node: str, what: str, args: Mapping[str, Any], *, body: Iterable[bytes], deadline_s: float) -> None:
        self.bursts.append(b"")
        for piece in body:
            self.bursts[-1] += piece
            if piece == b"gone":
                raise NotFound("this screen was closed")

    def ticking(self, tick_s: float) -> Iterator[bytes]:
        while not self.closed.wait(0.01):
            yield b""

    def close(self) -> None:
        self.closed.set()


def test_what_is_typed_together_is_one_question_and_an_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BURST_S", 0.2)
    screen = Screen()
    line = ScreenLine(cast(Any, screen), screen.ask, "hv1", "s")
    for piece in (b"a", b"b", b"c"):
        assert line.write(piece) == ""
    _eventually(lambda: screen.bursts == [b"abc"])
    time.sleep(0.5)
    line.write(b"d")
    _eventually(lambda: screen.bursts == [b"abc", b"d"])
    line.write(b"gone")
    _eventually(screen.closed.is_set)
    assert line.write(b"e") == "this screen was closed"
    assert list(line) == []


def _eventually(true: Any) -> None:
    until_s = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until_s
        time.sleep(0.02)
