"""Showing and following a log: from the API's stream of it, and where there is none by asking again and again."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator

import click

from pvc_cli.app import App
from pvc_cli.waiting import surely

POLL_S = 0.5
WINDOWS = (200, 2_000, 20_000)
"""Lines asked for: normally the first; a larger one when more came between two polls than it holds."""

MOVED = re.compile(r"^\[pvc: it moved from \S+ to \S+, where its log goes on\]\r?\n", re.MULTILINE)
"""What a stream says in between; what comes after it is another node's log, and all that a tail can go on from."""

Tail = Callable[[int], str]
"""The last N lines of a log as one text."""


def show(app: App, where: str, *, lines: int | None, follow: bool) -> None:
    """The log at the path `where`.

    Without `follow` the last lines (1,000), in a pager on a terminal; with it the last (10) and all that comes.
    """

    def tail(count: int) -> str:
        return str((surely(app.api, where, lines=count) if follow else app.api.get(where, lines=count)).body["data"])

    if follow:
        stream = app.api.follow(where, lines=lines or 10)
        seen = None if stream is None else follow_stream(app, stream)
        follow_by_asking(app, tail, lines or 10, seen)
        return
    text = tail(lines or 1_000)
    if sys.stdout.isatty() and not app.out.silent:
        click.echo_via_pager(text)
    else:
        app.out.say(text)


def follow_stream(app: App, stream: Iterator[str]) -> str:
    """Print all of it; the end of what was printed, to go on from when the stream ends (a daemon restarts)."""
    seen = ""
    for text in stream:
        app.out.say(text, newline=False)
        seen = last_lines(seen + text, WINDOWS[0])
    return MOVED.split(seen)[-1] or seen


def follow_by_asking(
    app: App, tail: Tail, lines: int, seen: str | None = None, *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Print the last `lines` lines, then everything new, until interrupted. With `seen` only what comes after that."""
    if seen is None:
        seen = tail(WINDOWS[0])
        app.out.say(last_lines(seen, lines), newline=False)
    while True:
        sleep(POLL_S)
        seen, news, complete = step(seen, tail)
        if not complete:
            app.out.note(f"\n[the log started anew, or more than {WINDOWS[-1]} lines came in {POLL_S} s]")
        if news:
            app.out.say(news, newline=False)


def step(seen: str, tail: Tail) -> tuple[str, str, bool]:
    """One poll: what is now the tail, what of it is new, and whether nothing was missed."""
    now = ""
    for window in WINDOWS:
        now = tail(window)
        news = new_part(seen, now)
        if news is not None:
            return last_lines(now, WINDOWS[0]), news, True
        if now.count("\n") + 1 < window:
            break
    return last_lines(now, WINDOWS[0]), now, False


def new_part(seen: str, now: str) -> str | None:
    """What `now` adds to `seen`, both being tails of one growing text; None when they do not overlap.

    The last line may have been half written when it was seen: it is continued, not repeated.

    >>> new_part("one\\ntw", "one\\ntwo\\nthree")
    'o\\nthree'
    """
    if not seen:
        return now
    if now in ("", seen):
        return "" if now == seen else None
    whole = now.find(seen)
    if whole == 0 or (whole > 0 and now[whole - 1] == "\n"):
        return now[whole + len(seen) :]
    # The longest overlap is tried first: of equal lines (a clock's ticks) the fewest are taken for new ones.
    start = seen.find("\n") + 1
    while 0 < start < len(seen):
        if now.startswith(seen[start:]):
            return now[len(seen) - start :]
        start = seen.find("\n", start) + 1
    return None


def last_lines(text: str, count: int) -> str:
    parts = text.splitlines(keepends=True)
    return "".join(parts[-count:])
