"""Work that takes long: waiting for it, its progress, its failure."""

from __future__ import annotations

from typing import Any

import pytest

from pvc_cli import waiting

STARTED = "POST /vm/vm00001/locks {} (any route with Bg = task)"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_S", 0)


def steps(api: Any, *names: str) -> None:
    api.on("POST /vm/vm1/locks", api.sample(STARTED))
    api.on("GET /tasks/1a2b3c4d", *(api.sample(f"GET /tasks/1a2b3c4d ({name})") for name in names))


def test_waits_to_the_end_and_says_each_step_once(pvc: Any, api: Any) -> None:
    steps(api, "queued", "running", "running", "done")
    result = pvc("vm", "flush-locks", "vm1")
    assert (result.code, result.out) == (0, "<one sentence>\n")
    assert result.err == "0/1 <one sentence>\n"
    assert len(api.asked("GET")) == 4


def test_a_failed_task_is_a_failure(pvc: Any, api: Any) -> None:
    steps(api, "running", "failed")
    result = pvc("vm", "flush-locks", "vm1")
    assert (result.code, result.out) == (1, "")
    assert "Error: <one sentence>" in result.err


def test_need_not_wait(pvc: Any, api: Any) -> None:
    steps(api, "running")
    result = pvc("vm", "flush-locks", "vm1", "--no-wait")
    assert result.out == "Task 1a2b3c4d started on hv1: pvc task wait 1a2b3c4d\n"
    assert api.asked("GET") == []


@pytest.mark.parametrize("command", [("task", "wait"), ("cluster", "task")])
def test_can_wait_later(pvc: Any, api: Any, command: tuple[str, ...]) -> None:
    steps(api, "running", "done")
    assert pvc(*command, "1a2b3c4d").out == "<one sentence>\n"
    steps(api, "failed")
    assert pvc(*command, "1a2b3c4d").code == 1


def test_can_look_once(pvc: Any, api: Any) -> None:
    steps(api, "running", "done")
    assert "2 of 5" in pvc("cluster", "task", "1a2b3c4d", "--no-wait").out
    steps(api, "running")
    assert "RUNNING" in pvc("task", "info", "1a2b3c4d").out
    assert pvc("task", "info", "nope").code == 3
