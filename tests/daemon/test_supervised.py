"""Programs kept running for plugins: one that is stopped has ended, whenever that was asked."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import Any

import pytest
import structlog

from pvc_core.daemon.supervise import Supervisor


def test_one_that_is_stopped_while_it_is_being_started_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dnsmasq that lived on would give addresses beside the new primary's."""
    started: list[subprocess.Popen[bytes]] = []
    begun, popen = threading.Event(), subprocess.Popen

    def slowly(*args: Any, **more: Any) -> subprocess.Popen[bytes]:
        begun.set()
        time.sleep(0.3)
        started.append(popen(*args, **more))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", slowly)
    program = Supervisor(["sleep", "60"], structlog.get_logger())
    assert begun.wait(10)
    program.stop()
    try:
        assert [one.poll() is not None for one in started] == [True] and program.pid is None
    finally:
        for one in started:
            one.kill()
            one.wait()


def test_one_that_was_stopped_before_it_was_started_never_is() -> None:
    for _ in range(20):
        program = Supervisor(["sleep", "60"], structlog.get_logger())
        program.stop()
        assert program.pid is None
        program.stop()
