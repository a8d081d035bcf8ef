"""Positions in a console's log: a follower that comes back finds its place, whatever happened to the file."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

pytest.importorskip("libvirt")

from pvc_compute_libvirt import console


def test_a_follower_begins_where_it_says(tmp_path: Path) -> None:
    log = tmp_path / "g.log"
    log.write_bytes(b"one\ntwo\nthree\n")
    assert console.start(log, 2, None) == 4
    assert console.start(log, 2, 9) == 9
    assert console.start(log, 1, 99) == 8, "a log that was begun anew since"
    assert console.start(tmp_path / "none", 5, None) == 0
    assert next(console.follow_from(log, 8, threading.Event())) == b"three\n"


def test_what_a_guest_wrote_since_it_arrived(tmp_path: Path) -> None:
    log = tmp_path / "g.log"
    assert console.arrived(log) == 0
    log.write_bytes(b"of an earlier stay\nunfinished")
    assert console.arrived(log) == log.stat().st_size, "no mark"
    console.mark_arrival(log, "hv2")
    console.mark_arrival(log, "hv2")  # tried again
    marked = log.read_bytes()
    assert marked.count(console.MARK) == 1 and marked.startswith(b"of an earlier stay\nunfinished\n[pvc: ")
    assert console.arrived(log) == len(marked)
    with log.open("ab") as file:
        file.write(b"tick 7\ntick 8\n")
    assert console.arrived(log) == len(marked)


def test_a_log_that_is_shortened_meanwhile_is_neither_repeated_nor_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_KEEP_BYTES", 400)
    monkeypatch.setattr(console, "_TAIL_BYTES", 100)
    log, stop = tmp_path / "g.log", threading.Event()
    log.write_bytes(b"".join(b"line %03d\n" % number for number in range(50)))
    following = console.follow_from(log, console.start(log, 1, None), stop)
    assert next(following) == b"line 049\n"
    console.trim(log)
    assert log.stat().st_size <= 100
    with log.open("ab") as file:
        file.write(b"line 050\n")
    assert next(piece for piece in following if piece) == b"line 050\n"
    stop.set()
