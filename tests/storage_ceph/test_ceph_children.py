"""Children that talk to Ceph are lent and kept; none of these talks to it, so no Ceph is needed."""

from __future__ import annotations

import os
import signal
import time

from pvc_core.clock import SystemClock
from pvc_storage_ceph.children import Children


def test_a_child_that_died_while_it_had_nothing_to_do_is_not_lent() -> None:
    children = Children(lambda _within_s: {}, SystemClock(), lambda: False)
    first = children.take()
    children.give_back(first)
    assert children.take() is first and first.runs
    children.give_back(first)
    os.kill(first.pid, signal.SIGKILL)
    end = time.monotonic() + 60
    while first.runs and time.monotonic() < end:
        time.sleep(0.01)
    second = children.take()
    assert second is not first and second.runs
    children.give_back(second)
    children.close()
    assert not second.runs
