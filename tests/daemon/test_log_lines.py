"""Log lines: one per event, secrets never, followers without gaps, a failure told once."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvc_core.clock import SystemClock
from pvc_core.daemon.lines import FIELDS, LineFormatter, PatientHandler
from pvc_core.daemon.notify import notify
from pvc_core.daemon.once import Once
from pvc_core.daemon.ring import LogRing, RingHandler


class Log:
    """A logger of the test's own that writes into a ring."""

    def __init__(self) -> None:
        self.ring = LogRing(100)
        self.formatter = LineFormatter({"node": "hv1"})
        handler = RingHandler(self.ring)
        handler.setFormatter(self.formatter)
        self.logger = logging.Logger("pvc.test")
        self.logger.addHandler(handler)

    def line(self, message: str, *args: object, **fields: object) -> str:
        self.logger.info(message, *args, extra={FIELDS: fields})
        return self.ring.lines(1)[0]


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_line_names_node_object_and_task_before_its_message(log: Log) -> None:
    line = log.line("the VM is running", pid=17, task="1a2b3c4d", object="vm/db1", note="two words")
    time_, _, rest = line.partition(" ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time_)
    assert rest == 'info node=hv1 object=vm/db1 task=1a2b3c4d the VM is running pid=17 note="two words"'


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\x1b[31mb", "a\u2028b", "a\0b", "a\x85b"])
def test_nothing_makes_a_second_line_or_paints_the_terminal(log: Log, text: str) -> None:
    line = log.line(text, value=text)
    assert len(line.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("x", {"password": "hunter22"}),
        ("x", {"api_key": "hunter22"}),
        ("x", {"bmc_password": "hunter22"}),
        ("x", {"config": {"user": "pvc", "password": "hunter22"}}),
        ("x", {"argv": "ipmitool --password=hunter22 power"}),
        ("X-Api-Key: hunter22", {}),
        ("Authorization: Bearer hunter22", {}),
        ('{"token": "hunter22"}', {}),
        ("secret=hunter22, and more", {}),
        ("it was told: the-stores-hunter22", {}),
    ],
)
def test_secrets_never_stand_in_a_line(log: Log, message: str, fields: dict[str, object]) -> None:
    log.formatter.hide("the-stores-hunter22")
    line = log.line(message, **fields)
    assert "hunter22" not in line
    assert "***" in line


def test_an_innocent_line_stays_as_it_is(log: Log) -> None:
    text = "volume vms/token-db: made by key 3, path /etc/pvc/secrets/store-node is there"
    assert log.line(text).endswith(text)


def test_an_exception_takes_one_line_and_tells_where(log: Log) -> None:
    try:
        json.loads("{")
    except ValueError:
        log.logger.exception("reading failed")
    line = log.ring.lines(1)[0]
    assert 'error node=hv1 reading failed error="JSONDecodeError: Expecting' in line
    assert "test_log_lines.py:" in line
    assert len(line.splitlines()) == 1


def test_percent_signs_and_broken_arguments_do_not_raise(log: Log) -> None:
    assert log.line("50% done").endswith("50% done")


def test_the_ring_keeps_the_last_lines() -> None:
    ring = LogRing(3)
    for number in range(5):
        ring.append(str(number))
    assert ring.lines() == ["2", "3", "4"]
    assert ring.lines(2) == ["3", "4"]
    assert ring.lines(0) == []
    assert ring.lines(99) == ["2", "3", "4"]


def test_a_follower_misses_nothing_from_the_call_on() -> None:
    ring = LogRing(10_000)
    ring.append("before")
    ring.append("last")
    follower = ring.follow(last=1, idle_s=0.05)
    ring.append("between the call and the first look")
    writer = threading.Thread(target=lambda: [ring.append(str(number)) for number in range(5000)])
    writer.start()
    seen = _take(follower, 5002)
    writer.join()
    assert seen == ["last", "between the call and the first look", *map(str, range(5000))]
    assert next(follower) == "", "nothing new: the reader may look whether it is still wanted"


def test_a_follower_that_is_too_slow_is_told_so() -> None:
    ring = LogRing(3)
    follower = ring.follow(idle_s=0.05)
    for number in range(10):
        ring.append(str(number))
    assert _take(follower, 4) == ["(7 lines were missed: they came faster than they were read)", "7", "8", "9"]


def test_a_failure_is_told_when_it_begins_and_when_it_ends(log: Log) -> None:
    once = Once(log.logger, SystemClock())
    assert once.begin("store", "the store is away", object="vm/db1")
    assert not once.begin("store", "the store is away, still")
    assert once.begin("disk", "the disk is full")
    assert once.end("store", "the store is back")
    assert not once.end("store", "the store is back")
    lines = [re.sub(r"^\S+ ", "", line) for line in log.ring.lines()]
    assert lines[:2] == ["warning node=hv1 object=vm/db1 the store is away", "warning node=hv1 the disk is full"]
    assert re.fullmatch(r"info node=hv1 the store is back after_s=\d\.\d", lines[2])
    assert len(lines) == 3
    assert once.begin("store", "the store is away"), "it may begin again"


@pytest.mark.parametrize("piece", ["x", "password", "password ", "token=", '"', "password='", "-"])
def test_long_text_takes_no_longer_than_its_length(log: Log, piece: str) -> None:
    began_s = time.monotonic()
    log.line(piece * (200_000 // len(piece)), value=piece * (200_000 // len(piece)))
    assert time.monotonic() - began_s < 3.0


def test_a_reader_that_hangs_holds_nobody_up() -> None:
    reading, writing = os.pipe()
    handler = PatientHandler(os.fdopen(writing, "w"))
    handler.setFormatter(LineFormatter({}))
    began_s = time.monotonic()
    for _ in range(3000):
        handler.handle(logging.LogRecord("pvc", logging.INFO, "", 0, "x" * 200, None, None))
    assert time.monotonic() - began_s < 5.0
    with os.fdopen(reading, "rb") as pipe:
        got = b""
        while b"dropped" not in got:
            got += pipe.read(200)
            handler.handle(logging.LogRecord("pvc", logging.INFO, "", 0, "more", None, None))
    handler.close()


def test_a_reader_that_has_gone_is_no_error() -> None:
    stream = io.StringIO()
    handler = PatientHandler(stream)
    handler.setFormatter(LineFormatter({}))
    stream.close()
    handler.handle(logging.LogRecord("pvc", logging.INFO, "", 0, "x", None, None))
    handler.close()


def test_structlog_and_the_standard_library_look_the_same(tmp_path: Path) -> None:
    """In a process of its own: setup is once a process."""
    code = (
        "import logging, structlog\n"
        "from pvc_core.daemon import logs\n"
        "ring = logs.LogRing(10)\n"
        "logs.setup(node='hv1', ring=ring).hide('the-password')\n"
        "log = structlog.get_logger('pvc.test').bind(object='vm/db1', plugin='storage_dir')\n"
        "log.info('made', size=3, secret='s')\n"
        "log.debug('not at this level')\n"
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('failed at %d%%', 50)\n"
        "logging.getLogger('kazoo.client').warning('gone %s', 'the-password')\n"
        "assert len(ring.lines()) == 3, ring.lines()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [line.partition(" ")[2] for line in done.stderr.splitlines()]
    assert lines[0] == "info node=hv1 plugin=storage_dir object=vm/db1 made size=3 secret=***"
    assert lines[1].startswith("error node=hv1 plugin=storage_dir object=vm/db1 failed at 50% error=")
    assert lines[2] == "warning node=hv1 gone *** logger=kazoo.client"
    assert len(lines) == 3


def test_notify_speaks_to_the_service_manager(tmp_path: Path) -> None:
    import socket

    for address in (str(tmp_path / "notify"), f"@pvc-test-{os.getpid()}"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(address.replace("@", "\0"))
            notify("READY=1", {"NOTIFY_SOCKET": address})
            assert manager.recv(100) == b"READY=1"
    notify("READY=1", {})


def _take(follower: Iterator[str], count: int) -> list[str]:
    seen: list[str] = []
    until_s = time.monotonic() + 10
    while len(seen) < count and time.monotonic() < until_s:
        if line := next(follower):
            seen.append(line)
    return seen
