"""What happens after a change was asked for: say what the API said, or follow the task it started to its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pvc_cli.api import Answer, Api, Value, path
from pvc_cli.app import App
from pvc_cli.errors import ApiError, NoAnswer, TaskFailed
from pvc_cli.listening import Bell

T = TypeVar("T")

POLL_S = 0.5
BAR_WIDTH = 20
ENDED = ("SUCCESS", "FAILURE")
AWAY_S = 60.0
"""The floating address moves with the primary role, and pvcapid is restarted: whoever waits sits that out."""
TAKEN_S = 25.0
"""How long a request whose answer was lost may still be on its way: its coordinator may be waiting for the store."""
AWAY_STATUSES = (502, 503, 504)


def finish(app: App, answer: Answer, *, wait: bool = True, done: str = "") -> None:
    """Print the answer's sentence (or `done`). A task is waited for, unless `wait` is false: then its id is printed.

    Raises TaskFailed when the task fails.
    """
    task_id = answer.task_id
    if task_id is None:
        app.out.say(done or answer.message)
    elif wait:
        app.out.say(wait_for_task(app, task_id, label=str(answer.body.get("task_name") or "task")))
    else:
        where = answer.body.get("run_on")
        app.out.say(f"Task {task_id} started{f' on {where}' if where else ''}: pvc task wait {task_id}")


def wait_for_task(app: App, task_id: str, *, label: str = "task", sleep: Callable[[float], None] = time.sleep) -> str:
    """Show the task's progress until it ends; its last sentence. Raises TaskFailed with that sentence if it failed."""
    states = watched(app.api, task_id, sleep)
    last = with_bar(states, label) if sys.stderr.isatty() and not app.out.quiet else with_lines(app, states)
    text = str(last.get("status") or "")
    if last["state"] == "FAILURE":
        raise TaskFailed(text or f"Task {task_id} failed and gave no reason.", help=f"pvc task info {task_id}")
    return text or "Done."


def watched(api: Api, task_id: str, sleep: Callable[[float], None]) -> Iterator[dict[str, Any]]:
    """Each time it changed, as the API's events tell; where those cannot be had, twice a second."""
    now = api.get(path("tasks", task_id)).body
    yield now
    if now["state"] in ENDED:
        return
    with Bell(api, "task", task_id) as bell:
        while now["state"] not in ENDED:
            now = surely(api, path("tasks", task_id), sleep=sleep).body
            yield now
            if now["state"] not in ENDED:
                bell.wait(POLL_S, sleep=sleep)


def surely(api: Api, where: str, *, sleep: Callable[[float], None] = time.sleep, **params: Value) -> Answer:
    """GET of what was there a moment ago. Raises NoAnswer, ApiError."""
    return again(lambda: api.get(where, **params), sleep=sleep)


def again(ask: Callable[[], T], *, sleep: Callable[[float], None] = time.sleep) -> T:
    """A question that changes nothing: when nobody answers, or not now, it is asked again for AWAY_S.

    Raises NoAnswer, ApiError.
    """
    until_s = time.monotonic() + AWAY_S
    while True:
        try:
            return ask()
        except (NoAnswer, ApiError) as error:
            if time.monotonic() >= until_s or (isinstance(error, ApiError) and error.status not in AWAY_STATUSES):
                raise
        sleep(POLL_S)


def ask_and_wait(
    app: App, where: str, done: Callable[[dict[str, Any]], bool], **params: Any
) -> Answer | dict[str, Any]:
    """POST with wait=true. When its answer is lost with the primary that was to give it, what was asked for goes on:
    it is looked whether it was taken, and read until `done`; then the last that was read is returned.

    Raises ApiError, NoAnswer (it is not known whether it was taken).
    """
    before = _asked_so_far(app, where)
    try:
        return app.api.post(where, wait=True, **params)
    except (NoAnswer, ApiError) as error:
        lost = isinstance(error, NoAnswer) and error.sent
        if before is None or not (lost or (isinstance(error, ApiError) and error.status in AWAY_STATUSES)):
            raise
        now = _taken(app, where, before, within_s=TAKEN_S if lost else 0.0)
        if now is None:
            raise
        app.out.note(f"{'The answer was lost' if lost else error.message}; what was asked for goes on.")
    while not done(now):
        time.sleep(POLL_S)
        now = _told(app, surely(app.api, where).body, now)
    return now


def _asked_so_far(app: App, where: str) -> int | None:
    """None where it is not told: by an older API; or there is no such VM, which the answer to the request says best."""
    try:
        body = app.api.get(where).body
    except ApiError:
        return None
    return body.get("asked") if isinstance(body, dict) else None


def _taken(app: App, where: str, before: int, *, within_s: float) -> dict[str, Any] | None:
    """What is there when the request has arrived, None when it has not in time."""
    until_s = time.monotonic() + within_s
    while True:
        now: dict[str, Any] = surely(app.api, where).body
        if now["asked"] > before:
            return now
        if time.monotonic() >= until_s:
            return None
        time.sleep(POLL_S)


def _told(app: App, now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    if now.get("status") != before.get("status"):
        app.out.note(f"{now['name']}: {now.get('status')}")
    return now


@contextmanager
def telling(app: App, kind: str, name: str, *, wait: bool) -> Iterator[None]:
    """While the API works on a request that waits: what happens to the VM or node meanwhile, on standard error."""
    if not wait or app.out.quiet:
        yield
        return
    last = [""]

    def say(body: dict[str, Any]) -> None:
        text = str(body.get("status") or "")
        if text and text != last[0]:
            last[0] = text
            app.out.note(f"{name}: {text}")

    with Bell(app.api, kind, name, told=say):
        yield


def with_bar(states: Iterator[dict[str, Any]], label: str) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=BAR_WIDTH),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    now: dict[str, Any] = {}
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as progress:
        bar = progress.add_task(label, total=None)
        for now in states:
            known = now["state"] != "PENDING" and int(now.get("total") or 0) > 0
            progress.update(
                bar,
                description=str(now.get("status") or label),
                completed=int(now.get("current") or 0) if known else 0,
                total=int(now["total"]) if known else None,
            )
    return now


def with_lines(app: App, states: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """For pipes and logs: each new sentence once, on standard error."""
    now: dict[str, Any] = {}
    told = ""
    for now in states:
        text = str(now.get("status") or "")
        if text != told and now["state"] not in ENDED:
            app.out.note(f"{now.get('current', 0)}/{now.get('total', 0)} {text}")
            told = text
    return now
