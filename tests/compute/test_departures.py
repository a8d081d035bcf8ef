"""A guest that stands still to leave: who asks about it waits for the end of its process, not for libvirt."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from pvc_compute_libvirt.migrate import Departures, Ticket

UUID = "5c33ad0d-9d3c-4b9b-8d53-e4a9f6f1a3c7"
TICKET = Ticket(libvirtd="qemu+tls://hv2/system", data="tcp://10.1.0.12", definition="<domain/>")
LONG_S = 60.0


@contextmanager
def leaving(tmp_path: Path) -> Iterator[tuple[Departures, subprocess.Popen[bytes], list[str]]]:
    """One whose libvirt takes the call and does not come back, with the guest's process."""
    told: list[str] = []
    with socket.socket(socket.AF_UNIX) as silent, subprocess.Popen(["sleep", "600"]) as process:
        silent.bind(str(tmp_path / "libvirt"))
        silent.listen()
        uri = f"qemu+unix:///system?socket={tmp_path}/libvirt"
        departures = Departures(uri, log=structlog.get_logger(), ended=told.append)
        departures.begin(UUID, TICKET, pid=process.pid, max_downtime_ms=300)
        try:
            yield departures, process, told
        finally:
            process.kill()


def test_nobody_waits_for_a_guest_that_runs(tmp_path: Path) -> None:
    with leaving(tmp_path) as (departures, _, _):
        began_s = time.monotonic()
        departures.await_left(UUID, LONG_S)
        departures.await_left("another", LONG_S)
        assert time.monotonic() - began_s < LONG_S / 2 and not departures.has_left(UUID)


def test_who_waits_goes_on_when_its_process_has_ended(tmp_path: Path) -> None:
    with leaving(tmp_path) as (departures, process, told):
        departures.stands_still(UUID)
        departures.await_left(UUID, 0.05)
        assert not departures.has_left(UUID), "it stands still, and may yet stay"
        left: list[bool] = []

        def wait() -> None:
            departures.await_left(UUID, LONG_S)
            left.append(departures.has_left(UUID))

        waiting = threading.Thread(target=wait)
        waiting.start()
        process.kill()
        waiting.join(LONG_S / 2)
        assert left == [True]
        end_s = time.monotonic() + LONG_S
        while not told and time.monotonic() < end_s:
            time.sleep(0.01)
        assert told == [UUID]
