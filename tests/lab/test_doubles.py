"""The watcher of execution finds two that execute at once, and nothing where a copy stands still, dies or follows."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.doubles import Doubles

pytestmark = [pytest.mark.system]
ENDLESS = b"\xeb\xfe" + bytes(508) + b"\x55\xaa"
"""A boot sector that jumps to itself for ever: a guest that executes."""
Start = Callable[[str], "subprocess.Popen[bytes]"]


class Here:
    """A lab whose nodes are the machine itself."""

    def __init__(self, root: Path, nodes: list[str]) -> None:
        self._root, self.nodes = root, nodes

    def pid_namespace(self, where: str) -> str:
        return os.readlink("/proc/self/ns/pid")

    def root_of(self, where: str) -> Path:
        return self._root / where


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a guest of that UUID, without libvirt."""
    disk, running = tmp_path / "endless", list[subprocess.Popen[bytes]]()
    disk.write_bytes(ENDLESS)

    def begin(guest: str) -> subprocess.Popen[bytes]:
        drive = f"file={disk},format=raw,if=ide,readonly=off,file.locking=off"
        argv = ["qemu-system-x86_64", "-machine", "pc,accel=tcg", "-m", "16", "-display", "none", "-nodefaults"]
        argv += ["-name", "guest=loop,debug-threads=on", "-uuid", guest, "-drive", drive, "-snapshot"]
        running.append(subprocess.Popen(argv))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Doubles]:
    found = Doubles(Here(tmp_path, ["here"]))
    yield found
    found.stop()


def test_two_that_execute_at_once_are_found(watch: Doubles, start: Start) -> None:
    guest = str(uuid.uuid4())
    start(guest), start(guest)
    _until(lambda: watch.found)
    assert guest in watch.found[0] and "twice at once by its processors" in watch.found[0]


def test_a_copy_that_stands_still_or_dies_is_no_second_one(watch: Doubles, start: Start) -> None:
    guest = str(uuid.uuid4())
    first = start(guest)
    _until(lambda: watch.executing(guest))
    first.send_signal(signal.SIGSTOP)
    _until(lambda: not watch.executing(guest, within_s=1.0))
    struck_s = time.monotonic()
    start(guest)
    _until(lambda: watch.began_s(guest, after_s=struck_s, elsewhere_than="another") is not None)
    time.sleep(1.0)
    first.kill()
    time.sleep(2.0)
    assert watch.executing(guest) == {"here"} and not watch.found


@pytest.mark.parametrize("at_once", [True, False])
def test_a_counter_that_grows_on_two_consoles_at_once_is_found(tmp_path: Path, at_once: bool) -> None:
    guest = str(uuid.uuid4())
    logs = [tmp_path / node / f"var/log/libvirt/{guest}.log" for node in ("one", "other")]
    for log in logs:
        log.parent.mkdir(parents=True)
        log.write_text("tick 1\n")
    watch = Doubles(Here(tmp_path, ["one", "other"]))
    time.sleep(1.0)  # what was written before is nobody's
    for count in range(2, 8):
        with logs[count % 2 if at_once else count > 4].open("a") as log:
            log.write(f"tick {count}\n")
        time.sleep(0.3)
    watch.stop()
    assert watch.executing(guest, within_s=60.0) == {"one", "other"}
    assert bool(watch.found) == at_once, watch.found


def _until(true: Callable[[], object], within_s: float = 60.0) -> None:
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s, "it was not seen"
        time.sleep(0.05)
