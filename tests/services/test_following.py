"""A followed log over interruptions: nothing twice, nothing left out, and what it cannot give it says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from pvc_core.errors import NotFound, Retry
from pvc_core.services import following
from pvc_core.services.following import LogFlow
from pvc_core.testing.clock import FakeClock


class Reply:
    def __init__(self, position: int, pieces: list[bytes | Exception]) -> None:
        self.result: Mapping[str, Any] = {"position": position}
        self.body: Iterator[bytes] = iter(())
        self._pieces = pieces

    def ticking(self, tick_s: float) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def close(self) -> None: ...


class Nodes:
    """Logs by node. Each answer gives at most `most` bytes of it and breaks off; `silent` nodes do not answer."""

    def __init__(self, clock: FakeClock, **logs: bytes) -> None:
        self.clock, self.logs, self.silent, self.most = clock, logs, 0, 3
        self.holder = next(iter(logs))
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.ends: Exception | None = None

    def by_bytes(self, node: str, args: Mapping[str, Any]) -> Reply:
        self._note(node, args)
        start = args.get("position", 0)
        return Reply(start, self._pieces(self.logs[node][start:]))

    def by_lines(self, node: str, args: Mapping[str, Any]) -> Reply:
        self._note(node, args)
        number = args.get("position", 0)
        rest = self.logs[node].split(b"\n", number)
        return Reply(number, self._pieces(rest[number] if len(rest) > number else b""))

    def _note(self, node: str, args: Mapping[str, Any]) -> None:
        self.asked.append((node, dict(args)))
        if self.silent:
            self.silent -= 1
            self.clock.move(2.0)
            raise Retry(f"{node} does not answer")
        if self.ends is not None:
            raise self.ends

    def _pieces(self, rest: bytes) -> list[bytes | Exception]:
        return [rest[: self.most], b"", Retry("it broke off")]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "AGAIN_S", 0.0)


def _take(pieces: Iterable[bytes], until: bytes) -> bytes:
    got = b""
    for _, piece in zip(range(200), pieces, strict=False):
        got += piece
        if got.endswith(until):
            return got
    raise AssertionError(got)


TEXT = b"one\ntwo two\n\nthree three three\nfour\n"


@pytest.mark.parametrize("most", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("by_lines", [False, True])
def test_broken_off_again_and_again_it_is_whole(by_lines: bool, most: int) -> None:
    clock = FakeClock()
    nodes = Nodes(clock, hv1=TEXT)
    nodes.most = most if not by_lines else max(most, 100)
    if by_lines and most < 100:
        nodes.most = 20  # a line at least, or there is no way on
    flow = LogFlow(nodes.by_lines if by_lines else nodes.by_bytes, "hv1", lines=10, by_lines=by_lines, clock=clock)
    assert _take(flow, b"four\n") == TEXT


def test_a_short_silence_is_not_mentioned_and_a_long_one_is_once() -> None:
    clock = FakeClock()
    nodes = Nodes(clock, hv1=TEXT)
    flow = LogFlow(nodes.by_bytes, "hv1", lines=10, by_lines=False, clock=clock)
    nodes.silent, nodes.most = 2, 12
    got = iter(flow)
    assert next(got) == b"one"
    for piece in got:
        if piece:
            break
    assert piece == TEXT[3:15]
    nodes.silent, nodes.most = 20, 100
    rest = _take(got, b"four\n")
    note = b"\n[pvc: hv1 does not answer; the log goes on when it does]\n"
    assert rest.count(b"[pvc:") == 1 and rest.replace(note, b"") == TEXT[15:]


def test_it_goes_on_where_the_guest_went_after_all_that_was_written_before() -> None:
    clock = FakeClock()
    nodes = Nodes(clock, hv1=b"tick 1\ntick 2\nti", hv2=b"ck 3\ntick 4\n")
    nodes.most = 100
    holder = ["hv1"]
    flow = LogFlow(
        nodes.by_bytes, "hv1", lines=10, by_lines=False, clock=clock,
        moved=lambda node: holder[0] if holder[0] != node else "",
    )  # fmt: skip
    got = iter(flow)
    assert next(got) == b"tick 1\ntick 2\nti"
    holder[0] = "hv2"
    rest = _take(got, b"tick 4\n")
    assert rest == b"\n[pvc: it moved from hv1 to hv2, where its log goes on]\nck 3\ntick 4\n"
    assert nodes.asked[-1] == ("hv2", {"lines": 0, "arrived": True, "follow": True})


def test_it_gives_up_with_a_reason() -> None:
    clock = FakeClock()
    nodes = Nodes(clock, hv1=TEXT)
    flow = LogFlow(nodes.by_bytes, "hv1", lines=10, by_lines=False, clock=clock)
    nodes.silent = 10_000
    with pytest.raises(Retry, match="the log on hv1 could not be had for 30"):
        list(flow)


def test_a_log_that_is_no_more_ends_in_words() -> None:
    clock = FakeClock()
    nodes = Nodes(clock, hv1=TEXT)
    flow = LogFlow(nodes.by_bytes, "hv1", lines=10, by_lines=False, clock=clock)
    nodes.ends = NotFound("there is no node 'hv1'")
    assert b"".join(flow).endswith(b"[pvc: the log ends here: there is no node 'hv1']\n")


def test_nobody_there_at_the_beginning_is_an_answer_and_no_stream() -> None:
    clock = FakeClock()
    nodes = Nodes(clock, hv1=TEXT)
    nodes.silent = 1
    with pytest.raises(Retry):
        LogFlow(nodes.by_bytes, "hv1", lines=10, by_lines=False, clock=clock)
