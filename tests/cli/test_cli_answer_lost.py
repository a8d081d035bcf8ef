"""The API goes while a command waits (the primary moved, pvcapid was killed). What was asked for is followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pvc_cli import transport, waiting
from pvc_cli.api import Api
from pvc_cli.errors import NoAnswer

PLACE = {"name": "vm1", "node": "hv1", "last_node": "", "status": "running on hv1", "asked": 3, "answered": True}
MOVING = {**PLACE, "status": "moves to hv2, 40 %", "asked": 4, "answered": False, "not_moved": ""}
THERE = {**PLACE, "node": "hv2", "status": "running on hv2", "asked": 4, "not_moved": ""}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "AGAIN_AFTER_S", (0.01, 0.01, 0.01))
    monkeypatch.setattr(waiting, "POLL_S", 0.02)
    monkeypatch.setattr(waiting, "TAKEN_S", 0.3)
    monkeypatch.setattr(waiting, "AWAY_S", 5.0)


def reply(api: Any, status: int, body: Any) -> Any:
    return type(api.sample("GET /vm"))(status, body, {})


def lose_posts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each POST reaches the API, and its answer nobody. The paths that were posted to."""
    asked, posted = Api._ask, list[str]()

    def lost(self: Api, method: str, path: str, *more: Any) -> Any:
        answer = asked(self, method, path, *more)
        if method != "POST":
            return answer
        posted.append(path)
        raise NoAnswer("got no answer", sent=True)

    monkeypatch.setattr(Api, "_ask", lost)
    return posted


def test_a_move_is_followed_to_its_end(pvc: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    posted = lose_posts(monkeypatch)
    away = reply(api, 503, {"message": "the store has not answered since this API began", "code": "store_unavailable"})
    steps = (PLACE, PLACE, MOVING, MOVING, THERE)
    api.on("GET /vm/vm1/node", *(reply(api, 200, step) for step in steps[:3]), away, away, away, away, away,
           *(reply(api, 200, step) for step in steps[3:]))  # fmt: skip
    result = pvc("vm", "move", "vm1", "-t", "hv2", "-w")
    assert (result.code, result.out) == (0, "VM vm1 lives on hv2.\n"), result.err
    assert "The answer was lost; what was asked for goes on." in result.err
    assert posted == ["/vm/vm1/node"], "it is asked for once"


def test_a_move_that_was_refused_is_told(pvc: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_posts(monkeypatch)
    gave_up = {**THERE, "node": "hv1", "not_moved": "hv2 was lost"}
    api.on("GET /vm/vm1/node", reply(api, 200, PLACE), reply(api, 200, gave_up))
    result = pvc("vm", "migrate", "vm1", "-w")
    assert (result.code, result.out) == (1, "")
    assert "Error: VM vm1 was not moved: hv2 was lost" in result.err


@pytest.mark.parametrize(
    ("command", "way", "end", "said"),
    [
        ("shutdown", ("start", "shutdown", "shutdown"), "stop", "VM vm1 is off: off\n"),
        ("restart", ("start", "restart", "restart"), "start", "VM vm1 has restarted: off\n"),
    ],
)
def test_a_change_of_state_is_followed_to_its_end(
    pvc: Any, api: Any, monkeypatch: pytest.MonkeyPatch, command: str, way: tuple[str, ...], end: str, said: str
) -> None:
    posted = lose_posts(monkeypatch)
    states = [
        {"name": "vm1", "state": state, "status": "on its way", "asked": min(n, 1)} for n, state in enumerate(way)
    ]
    last = {"name": "vm1", "state": end, "status": "off", "asked": 1}
    api.on("GET /vm/vm1/state", *(reply(api, 200, state) for state in [*states, last]))
    result = pvc("vm", command, "vm1", "-y", "-w")
    assert (result.code, result.out) == (0, said), result.err
    assert posted == ["/vm/vm1/state"]


def test_what_did_not_arrive_is_said_and_not_asked_again(pvc: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    posted = lose_posts(monkeypatch)
    api.on("GET /vm/vm1/node", reply(api, 200, PLACE))
    result = pvc("vm", "move", "vm1", "-w")
    assert (result.code, result.out) == (4, "")
    assert posted == ["/vm/vm1/node"]


def test_an_older_api_does_not_tell(pvc: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_posts(monkeypatch)
    api.on("GET /vm/vm1/node", reply(api, 200, [{"name": "vm1", "node": "hv1"}]))
    assert pvc("vm", "move", "vm1", "-w").code == 4


def test_a_no_stays_a_no(pvc: Any, api: Any) -> None:
    api.on("GET /vm/vm1/node", reply(api, 200, PLACE))
    for status, code in ((400, 1), (404, 3), (503, 4)):
        api.on("POST /vm/vm1/node", reply(api, status, {"message": "It may not be.", "code": "x"}))
        result = pvc("vm", "move", "vm1", "-w")
        assert (result.code, "It may not be." in result.err) == (code, True)


def test_an_api_that_is_stopped_while_it_waits_leaves_it_to_the_next(pvc: Any, api: Any) -> None:
    stopped = {"message": "the API is being stopped, so nobody waits for this here any more", "code": "retry"}
    api.on("POST /vm/vm1/node", reply(api, 503, stopped))
    api.on("GET /vm/vm1/node", reply(api, 200, PLACE), reply(api, 200, MOVING), reply(api, 200, THERE))
    result = pvc("vm", "move", "vm1", "-w")
    assert (result.code, result.out) == (0, "VM vm1 lives on hv2.\n"), result.err
    assert "the API is being stopped, so nobody waits for this here any more; what was asked for goes on." in result.err


def test_a_task_is_waited_for_while_the_api_is_away(pvc: Any, api: Any) -> None:
    running, done = (api.sample(f"GET /tasks/1a2b3c4d ({name})") for name in ("running", "done"))
    away = reply(api, 502, None)
    api.on("GET /tasks/1a2b3c4d", running, *[away] * 9, done)
    assert pvc("task", "wait", "1a2b3c4d").code == 0


def test_a_flush_is_ordered_again(pvc: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second order to flush takes the place of the first: there is nothing to be done twice."""
    posted, asked = list[str](), Api._ask

    def lost_once(self: Api, method: str, path: str, *more: Any) -> Any:
        answer = asked(self, method, path, *more)
        posted.extend([path] if method == "POST" else [])
        if len(posted) == 1:
            raise NoAnswer("got no answer", sent=True)
        return answer

    monkeypatch.setattr(Api, "_ask", lost_once)
    result = pvc("node", "flush", "hv1")
    assert (result.code, posted) == (0, ["/node/hv1/domain-state"] * 2), result.err


def test_it_is_not_waited_for_ever(pvc: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "AWAY_S", 0.2)
    running = api.sample("GET /tasks/1a2b3c4d (running)")
    api.on("GET /tasks/1a2b3c4d", running, reply(api, 503, {"message": "Not now.", "code": "retry"}))
    result = pvc("task", "wait", "1a2b3c4d")
    assert (result.code, "Not now." in result.err) == (4, True)


def raising(error: OSError) -> Callable[[], None]:
    def connect() -> None:
        raise error

    return connect


def test_what_could_not_be_sent_is_sent_when_somebody_listens(pvc: Any, api_url: str, monkeypatch: Any) -> None:
    """A change, too: nothing of it was said to anybody."""
    refused, made = [ConnectionRefusedError(111, "Connection refused")] * 2, transport.new_connection

    def late(endpoint: Any) -> Any:
        connection = made(endpoint)
        if refused:
            monkeypatch.setattr(connection, "connect", raising(refused.pop()))
        return connection

    monkeypatch.setattr(transport, "new_connection", late)
    assert pvc("vm", "start", "vm1").code == 0
    assert not refused


def test_a_change_that_was_sent_is_not_sent_again(pvc: Any, hanging_up: Any) -> None:
    asked = hanging_up(b"")
    result = pvc("vm", "start", "vm1")
    assert (result.code, len(asked)) == (4, 1)
