"""Following a log by polling: nothing twice, nothing lost that polling can see, and a word when something was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvc_cli.following import WINDOWS, follow_by_asking, follow_stream, new_part, step


class Output:
    def __init__(self) -> None:
        self.said = ""
        self.notes: list[str] = []

    def say(self, text: str, *, newline: bool = True) -> None:
        self.said += text

    def note(self, text: str) -> None:
        self.notes.append(text)


class Stop(Exception):
    pass


def follow(moments: list[str], lines: int = 10) -> Output:
    """What is printed when the whole log is moments[0] at first, moments[1] at the next poll, and so on."""
    out = Output()
    app = type("App", (), {"out": out})()
    now = 0

    def tail(count: int) -> str:
        return "\n".join(moments[now].split("\n")[-count:])

    def sleep(_seconds: float) -> None:
        nonlocal now
        now += 1
        if now == len(moments):
            raise Stop

    with pytest.raises(Stop):
        follow_by_asking(app, tail, lines, sleep=sleep)
    return out


@given(st.lists(st.text(alphabet="ab\n", max_size=40), min_size=1, max_size=6))
def test_a_growing_log_is_printed_once_and_whole(parts: list[str]) -> None:
    # The first part is marked so that no later text looks like it: repeated equal lines cannot be told apart.
    whole = [f"#{number}" + part for number, part in enumerate(parts)]
    moments = ["".join(whole[: count + 1]) for count in range(len(whole))]
    out = follow(moments, lines=1000)
    assert out.said == moments[-1]
    assert out.notes == []


def test_half_a_line_is_continued() -> None:
    assert follow(["boot\nlog", "boot\nlogin: ", "boot\nlogin: root\n"]).said == "boot\nlogin: root\n"


def test_only_the_last_lines_at_first() -> None:
    log = "\n".join(str(n) for n in range(50))
    assert follow([log, log + "\nnew"], lines=2).said == "48\n49\nnew"


def test_more_than_one_window_between_two_polls() -> None:
    old = "\n".join(f"line {n}" for n in range(300))
    new = "\n".join(f"line {n}" for n in range(1500))
    out = follow([old, new], lines=1)
    assert out.said.split("\n") == [f"line {n}" for n in range(299, 1500)]
    assert out.notes == []


def test_what_was_lost_is_said() -> None:
    seen = "\n".join(f"old {n}" for n in range(10))
    now = "\n".join(f"new {n}" for n in range(WINDOWS[-1] + 5))
    asked = []

    def tail(count: int) -> str:
        asked.append(count)
        return "\n".join(now.split("\n")[-count:])

    kept, news, complete = step(seen, tail)
    assert (asked, complete) == (list(WINDOWS), False)
    assert news.count("\n") == WINDOWS[-1] - 1
    assert kept == "\n".join(now.split("\n")[-200:])


def test_a_log_that_starts_anew() -> None:
    out = follow(["one\ntwo\n", "", "three\n"])
    assert out.said == "one\ntwo\nthree\n"
    assert len(out.notes) == 1


def test_equal_lines_are_taken_for_the_fewest_new_ones() -> None:
    assert new_part("tick\ntick\n", "tick\ntick\n") == ""
    assert new_part("tick\ntick\n", "tick\ntick\ntick\n") == "tick\n"


def test_a_stream_that_ends_on_another_node_than_it_began_is_gone_on_from_there() -> None:
    app: Any = type("App", (), {"out": Output()})()
    stream = ["boot\r\ntick 1\r\n", "[pvc: it moved from hv3 to hv1, where its log goes on]\r\ntick 2\r\n"]
    stream += ["[pvc: it moved from hv1 to hv3, where its log goes on]\r\n", "tick 3\r\ntick 4\r\n"]
    seen = follow_stream(app, iter(stream))
    now = "boot\r\ntick 1\r\ntick 3\r\ntick 4\r\ntick 5\r\n"
    assert step(seen, lambda _: now) == (now, "tick 5\r\n", True)


def test_log_without_following(pvc: Any, api: Any) -> None:
    result = pvc("vm", "log", "vm00001", "-l", "5")
    assert result.out == api.samples["GET /vm/vm00001/console?lines=5"]["body"]["data"] + "\n"
    assert api.last.query == {"lines": ["5"]}
    assert pvc("node", "log", "hv1").code == 0
    assert api.last.query == {"lines": ["1000"]}


def test_a_server_that_keeps_only_one_window() -> None:
    seen = "\n".join(f"line {n}" for n in range(200))
    now = "\n".join(f"line {n}" for n in range(50, 250))
    assert new_part(seen, now) == "".join(f"\nline {n}" for n in range(200, 250))
    assert new_part(seen + "\nhalf", now) is None, "a line that changed is no overlap"
