"""A real Ceph on loopback for the tests: one monitor, one manager, three OSDs on files; ended by its process ids."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.ceph_conf import Monitor
from lab.ceph_make import Ceph, Osd, run_here

HOST = "127.0.0.1"


@contextmanager
def running_ceph(directory: Path) -> Iterator[Ceph]:
    """The path must be short: an admin socket's has at most 107 characters."""
    port, old_port = _free_ports(2)
    ceph = Ceph(
        directory=directory,
        monitors=[Monitor(name="a", address=HOST, port=port, old_port=old_port)],
        mon_runs=[run_here],
        osds=[Osd(number=number, host="local", address=HOST) for number in range(3)],
        network="127.0.0.0/8",
    )
    try:
        ceph.make()
        ceph.await_clean()
        yield ceph
    finally:
        stop(ceph)


def stop(ceph: Ceph) -> None:
    """Without saying goodbye: nobody needs its files again."""
    for path in (ceph.directory / "run").glob("*.pid"):
        kill_daemon(ceph, path.stem, signal.SIGKILL)


def kill_daemon(ceph: Ceph, name: str, sign: signal.Signals) -> None:
    """`name` as "osd.0". A process id counts only while its command line names our ceph.conf."""
    try:
        pid = int((ceph.directory / "run" / f"{name}.pid").read_text())
    except (FileNotFoundError, ValueError):
        return
    if not _is_ours(pid, ceph):
        return
    os.kill(pid, sign)
    end = time.monotonic() + 20
    while sign is signal.SIGKILL and _is_ours(pid, ceph) and time.monotonic() < end:
        time.sleep(0.02)


def _is_ours(pid: int, ceph: Ceph) -> bool:
    try:
        return str(ceph.conf).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _free_ports(count: int) -> Sequence[int]:
    sockets = [socket.socket() for _number in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()
