"""The daemon's last lines outlive the daemon, with their numbers."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from pvc_core.daemon.ring import LogRing


def test_the_next_process_goes_on_where_the_last_one_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "log" / "lines"
    first = LogRing(100)
    first.append("before the file")
    first.keep(path)
    for number in range(5):
        first.append(f"line {number}")
    seen = first.start(0)
    second = LogRing(100)  # the first was killed: nothing was closed
    second.append("begins")
    second.keep(path)
    second.append("works")
    assert second.lines() == ["before the file", *(f"line {number}" for number in range(5)), "begins", "works"]
    assert list(islice(second.follow_from(seen, idle_s=0.01), 2)) == ["begins", "works"]
    assert second.start(2) == 6 and second.start(2, 3) == 3
    assert path.stat().st_mode & 0o077 == 0


def test_the_file_does_not_grow_without_end_and_half_a_line_hides_no_other(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    ring = LogRing(10)
    ring.keep(path)
    for number in range(1000):
        ring.append(f"line {number}")
    assert len(path.read_text().splitlines()) <= 30
    with path.open("a") as file:
        file.write("garbage without a number\n1000")
    again = LogRing(10)
    again.keep(path)
    assert again.lines(2) == ["line 999", ""]
    assert again.start(0) == 1001
