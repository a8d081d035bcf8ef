"""A driver that hangs costs one object, then its own family, and never the daemon's end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from pvc_core.errors import Refused, Retry
from pvc_core.reconcile.calls import ThreadCalls


def hang(calls: ThreadCalls, object: str, until: threading.Event) -> None:
    with pytest.raises(Retry, match="did not come back"):
        calls(object, "looking", -0.95, until.wait)


def test_the_answer_and_the_error_of_a_call_come_back() -> None:
    calls = ThreadCalls()
    assert calls("u1", "looking", 1.0, lambda: 7) == 7
    with pytest.raises(Refused, match="no"):
        calls("u1", "looking", 1.0, _refuse)
    assert calls.stuck == {}


def test_what_hangs_is_not_asked_again_until_it_has_come_back() -> None:
    calls, until = ThreadCalls(), threading.Event()
    hang(calls, "u1", until)
    assert calls.stuck == {"u1": "looking"}
    with pytest.raises(Retry, match="still waiting for the driver to come back from: looking"):
        calls("u1", "starting", 1.0, lambda: 7)
    assert calls("u2", "looking", 1.0, lambda: 7) == 7
    until.set()
    while calls.stuck:
        time.sleep(0.001)
    assert calls("u1", "looking", 1.0, lambda: 7) == 7


def test_a_hanging_hypervisor_holds_up_neither_storage_nor_more_than_its_share_of_threads() -> None:
    calls, until = ThreadCalls(stuck_max=3), threading.Event()
    for number in range(3):
        hang(calls, f"u{number}", until)
    begun = time.monotonic()
    with pytest.raises(Retry, match="not begun, 3 calls to that driver have not come back"):
        calls("u9", "starting the guest", 5.0, lambda: 7)
    assert time.monotonic() - begun < 1.0
    assert calls("volume/v1", "measuring", 1.0, lambda: 7) == 7
    until.set()


def test_a_hanging_call_does_not_keep_the_process_from_ending() -> None:
    program = """
import threading
from pvc_core.errors import Retry
from pvc_core.reconcile.calls import ThreadCalls
try:
    ThreadCalls()("u1", "looking", -0.95, threading.Event().wait)
except Retry:
    print("gave up")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "gave up\n"


def _refuse() -> int:
    raise Refused("no")
