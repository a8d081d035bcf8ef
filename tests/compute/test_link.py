"""The connection to libvirtd, where no libvirtd is needed: what is lost in an unlucky moment is found again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt
import pytest
import structlog

from pvc_compute_libvirt.driver import LibvirtDriver, Settings
from pvc_compute_libvirt.link import Link
from pvc_compute_libvirt.permits import Permits
from pvc_compute_libvirt.processes import Processes
from pvc_core.clock import SystemClock
from pvc_core.errors import NotFound, Retry
from pvc_core.model.vm import GuestState


class Handle:
    """As much of a connection as Link asks for itself."""

    def __init__(self) -> None:
        self.alive = True
        self.gone: Callable[..., None] = lambda *_: None

    def registerCloseCallback(self, call: Callable[..., None], _opaque: object) -> None:  # libvirt's name
        self.gone = call

    def unregisterCloseCallback(self) -> None:  # libvirt's name
        self.gone = lambda *_: None

    def isAlive(self) -> bool:  # libvirt's name
        return self.alive

    def close(self) -> None:
        self.alive = False


def test_a_libvirtd_that_dies_while_it_is_being_connected_to_is_connected_to_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handles: list[Handle] = []

    def opened(_uri: str) -> Handle:
        handles.append(Handle())
        return handles[-1]

    def register(handle: Any) -> None:
        if len(handles) == 1:  # libvirt tells it from a thread of its own
            handle.alive = False
            telling = threading.Thread(target=handle.gone)
            telling.start()
            telling.join()

    def ask(handle: Any) -> int:
        if not handle.alive:
            raise libvirt.libvirtError("client socket is closed")
        return handles.index(handle)

    monkeypatch.setattr(libvirt, "open", opened)
    link = Link("test", clock=SystemClock(), log=structlog.get_logger(), opened=register, found=lambda: None)
    try:
        assert link.call("look", ask, deadline_s=5.0, again=True) == 1
    finally:
        link.stop()


def test_a_connection_that_tells_of_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    handles: list[Handle] = []

    def opened(_uri: str) -> Handle:
        handles.append(Handle())
        return handles[-1]

    def register(_handle: Any) -> None:
        if len(handles) == 1:
            raise libvirt.libvirtError("it cannot be registered for events")

    monkeypatch.setattr(libvirt, "open", opened)
    link = Link("test", clock=SystemClock(), log=structlog.get_logger(), opened=register, found=lambda: None)
    try:
        link.keep()
        _until(lambda: len(handles) == 2 and not handles[0].alive)
        assert handles[1].alive
    finally:
        link.stop()


def test_a_guest_is_unknown_until_every_late_call_about_it_is_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second one that is late is back first: what the first one does is still to come."""
    settings = Settings(uri="test", virt_type="qemu", console_log_dir=tmp_path, vnc_listen="127.0.0.1")
    permits = Permits(permits_dir=tmp_path, hooks_dir=tmp_path)
    log = structlog.get_logger()
    driver = LibvirtDriver(settings, permits=permits, processes=Processes(), clock=SystemClock(), log=log)
    monkeypatch.setattr(libvirt, "open", lambda _uri: Handle())
    driver._link._opened = lambda _handle: None
    gates = [threading.Event(), threading.Event()]
    begun = [threading.Event(), threading.Event()]

    def call(number: int, deadline_s: float) -> None:
        def work(_connection: Any) -> None:
            begun[number].set()
            gates[number].wait(30)

        with pytest.raises(Retry):
            driver._call("u", "do it", work, deadline_s)

    callers = [threading.Thread(target=call, args=(0, 0.6)), threading.Thread(target=call, args=(1, 0.8))]
    try:
        driver._link.keep()
        _until(lambda: driver._link._current is not None)
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert all(one.wait(30) for one in begun)
        gates[1].set()
        for _ in range(10):
            assert driver.observe("u", deadline_s=0.1).guest is GuestState.UNKNOWN
            time.sleep(0.03)
        gates[0].set()
        _until(lambda: not driver._is_out("u"))
    finally:
        for gate in gates:
            gate.set()
        driver.stop_driver()


def _until(is_so: Callable[[], bool]) -> None:
    for _ in range(200):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come so")


def test_a_console_is_that_of_a_guest_and_no_other_file(tmp_path: Path) -> None:
    """The UUID comes over the peer channel, also from the API, which may read less than this daemon."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "auth.log").write_text("for root alone")
    settings = Settings(uri="test", virt_type="qemu", console_log_dir=tmp_path / "logs", vnc_listen="127.0.0.1")
    permits = Permits(permits_dir=tmp_path, hooks_dir=tmp_path)
    log = structlog.get_logger()
    driver = LibvirtDriver(settings, permits=permits, processes=Processes(), clock=SystemClock(), log=log)
    for wrong in ("../auth", str(tmp_path / "auth"), ""):
        with pytest.raises(NotFound):
            driver.console_log(wrong, 10)
        with pytest.raises(NotFound):
            driver.console_from(wrong, lines=10)
    assert driver.console_log("2b57194c-777e-54d9-9dee-6a6bada3c400", 10) == ""
