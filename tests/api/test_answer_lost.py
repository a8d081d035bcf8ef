"""The command line waits for a VM while its API goes: stopped in order and another in its place, or cut off. It hears
how that came out, and what it asked for was asked for once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from pvc_core.model.vm import VmWanted
from tests.store.rigs import Proxy

from .fake_compute import definition
from .rig import Rig, new_rig, running
from .test_process import pvc


@pytest.fixture
def lazy() -> Iterator[Rig]:
    """VM "vm1" runs, and its node does nothing more of what is wanted."""
    rig = new_rig()
    vm = rig.services.vms.define(definition("vm1"), by="test")
    rig.services.vms.start(vm.wanted.uuid, by="test", wait=True)
    rig.node.lazy = True
    yield rig
    rig.close()


def wanted(rig: Rig) -> VmWanted:
    return rig.services.vms.get("vm1").wanted


def until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def ended(rig: Rig, waiting: Future[CompletedProcess[str]]) -> None:
    rig.node.lazy = False
    done = waiting.result(60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("VM vm1 is off"), done.stdout
    assert done.stderr.count("what was asked for goes on.") == 1, done.stderr


def test_another_api_takes_its_place(lazy: Rig, tmp_path: Path) -> None:
    way, before = {"PVC_API_URL": f"unix:{tmp_path / 'api.sock'}"}, wanted(lazy).asked
    with ThreadPoolExecutor(1) as thread:
        with running(lazy, tmp_path):
            waiting = thread.submit(pvc, tmp_path, "vm", "shutdown", "vm1", "-y", "-w", **way)
            until(lambda: wanted(lazy).asked > before, "it is asked for")
            time.sleep(0.2)  # the API waits for it by now
        time.sleep(0.5)
        with running(lazy, tmp_path):
            time.sleep(1.0)
            assert not waiting.done(), waiting.result().stderr
            ended(lazy, waiting)
    assert wanted(lazy).asked == before + 1


def test_the_way_to_it_is_cut(lazy: Rig, tmp_path: Path) -> None:
    before = wanted(lazy).asked
    with running(lazy, tmp_path) as api, ThreadPoolExecutor(1) as thread:
        proxy = Proxy(api.frontend.port)
        way = {"PVC_API_URL": f"http://127.0.0.1:{proxy.port}", "PVC_API_KEY": api.key}
        waiting = thread.submit(pvc, tmp_path, "vm", "shutdown", "vm1", "-y", "-w", **way)
        until(lambda: wanted(lazy).asked > before, "it is asked for")
        proxy.cut()
        time.sleep(1.0)
        assert not waiting.done(), waiting.result().stderr
        proxy.mend()
        ended(lazy, waiting)
        proxy.close()
    assert wanted(lazy).asked == before + 1
