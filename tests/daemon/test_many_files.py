"""Daemons that have thousands of files and connections open (daemon/files.py) still wait for the next one: select(2)
knows descriptors below 1,024 only."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pvc_compute_libvirt.console import Keyboards
from pvc_core.clock import SystemClock
from pvc_core.daemon.checks import probe
from pvc_core.daemon.files import allow_many_files
from pvc_core.hostnet import arp
from pvc_net_evpn.leases import LeasePipe
from pvc_net_evpn.programs import Program

SELECTABLE = 1024


@pytest.fixture(autouse=True)
def many() -> Iterator[None]:
    """All that is opened in a test has a higher number than select(2) knows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert allow_many_files(SELECTABLE * 2) > SELECTABLE
    held = [os.open("/dev/null", os.O_RDONLY)]
    while held[-1] < SELECTABLE:
        held.append(os.dup(held[0]))
    try:
        yield
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_serial_console_is_typed_into() -> None:
    guest, ours = os.openpty()
    stopped = threading.Event()
    try:
        Keyboards(SystemClock(), stopped).write("u", lambda: os.ttyname(ours), b"root\n")
        assert os.read(guest, 100).startswith(b"root")
    finally:
        stopped.set()
        os.close(ours)
        os.close(guest)


def test_the_end_of_a_program_is_noticed(tmp_path: Path) -> None:
    program = Program(["sleep", "60", str(tmp_path / "it.pid")], tmp_path / "it.pid")
    ended = threading.Event()
    program._child = child = subprocess.Popen(["sleep", "60"])
    program.on_end(ended.set)
    assert not ended.wait(0.1)
    child.kill()
    assert ended.wait(10)
    child.wait()


def test_leases_are_heard(tmp_path: Path) -> None:
    heard: list[str] = []
    pipe = LeasePipe(tmp_path / "pipe", lambda vni, given, gone: heard.append(gone))
    try:
        assert not pipe.wait(0.0)
        (tmp_path / "pipe").write_bytes(b"100\tdel\t\t10.0.0.5\n")
        assert pipe.wait(5.0) and heard == ["10.0.0.5"]
    finally:
        pipe.close()


def test_an_answer_to_an_echo_request_is_seen() -> None:
    line, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    class Line:
        """Sends to its peer, whatever address is named."""

        fileno, recvfrom = line.fileno, line.recvfrom

        def sendto(self, data: bytes, _to: object) -> None:
            other.send(b"\x81" + data[1:])

    try:
        assert probe._answered(Line(), "::1", 1, 64, six=True)  # type: ignore[arg-type]  # as much of a socket as it uses
    finally:
        line.close()
        other.close()


def test_arp_is_heard() -> None:
    place = arp.Place(device="eth0", mac="02:00:00:00:00:01", ip=IPv4Address("10.0.0.1"))
    line, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    packet = arp._HEAD + b"\x00\x02" + b"\x02\x00\x00\x00\x00\x09" + place.ip.packed + bytes(6) + place.ip.packed
    found: dict[arp.Place, str] = {}
    try:
        other.send(packet)
        arp._listen({place: line}, found, time.monotonic() + 0.2)
        assert found == {place: "02:00:00:00:00:09"}
    finally:
        line.close()
        other.close()
