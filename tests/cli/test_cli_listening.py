"""Waiting by the API's events: woken when something changes, and by the clock where there are none."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from conftest import Reply

from pvc_cli.errors import NoAnswer
from pvc_cli.listening import Bell


class Events:
    """Stands in the API's place; what is put in comes out of its stream."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.more = threading.Condition()
        self.over = False

    def beside(self) -> Events:
        return self

    def follow(self, where: str, **params: Any) -> Iterator[str]:
        assert (where, params) == ("/events", {"kind": ["task"]})
        number = 0
        while True:
            with self.more:
                self.more.wait_for(lambda number=number: len(self.said) > number or self.over)
                if len(self.said) <= number:
                    return
            yield self.said[number]
            number += 1

    def say(self, name: str, **body: Any) -> None:
        with self.more:
            self.said.append(f"event: {name}\ndata: {json.dumps(body)}\n\n")
            self.more.notify_all()

    def end(self) -> None:
        with self.more:
            self.over = True
            self.more.notify_all()


def never(seconds: float) -> None:
    raise AssertionError("it is told when to look")


def test_it_rings_for_its_task_and_no_other() -> None:
    events, told = Events(), []
    events.say("ready")
    with Bell(events, "task", "t1", told=told.append) as bell:
        events.say("task", id="t2", state="RUNNING")
        events.say("task", id="t1", state="RUNNING", status="half")
        began_s = time.monotonic()
        bell.wait(0.5, sleep=never)
        assert time.monotonic() - began_s < 5
        assert told == [{"id": "t1", "state": "RUNNING", "status": "half"}]
        events.say("reset", reason="anything may have changed")
        bell.wait(0.5, sleep=never)


def test_without_events_it_is_the_clock() -> None:
    events, slept = Events(), []
    events.say("ready")
    with Bell(events, "task", "t1") as bell:
        events.end()
        for _ in range(100):
            bell.wait(0.5, sleep=slept.append)
            if slept:
                break
        assert slept == [0.5]


def test_an_api_without_events_is_asked_as_ever() -> None:
    class Old(Events):
        def follow(self, where: str, **params: Any) -> Iterator[str]:
            raise NoAnswer("no such path")

    slept: list[float] = []
    with Bell(Old(), "task", "t1") as bell:
        bell.wait(0.5, sleep=slept.append)
    assert slept == [0.5]


SAID = b"""event: ready
data: {}

id: l-7
event: vm
data: {"kind": "vm", "id": "u1", "name": "web1", "state": "migrate", "node": "hv2", "status": "moves to hv2, 40 %"}

"""


def test_what_happens_while_a_vm_is_waited_for_is_told(pvc: Any, api: Any) -> None:
    api.on("GET /events", Reply(200, SAID, {"Content-Type": "text/event-stream"}))
    api.on("POST /vm/web1/node", slowly)
    result = pvc("vm", "move", "-w", "web1")
    assert (result.code, result.out) == (0, "VM web1 lives on hv2.\n")
    assert result.err == "web1: moves to hv2, 40 %\n"
    assert pvc("-q", "vm", "move", "-w", "web1").err == ""
    assert pvc("vm", "move", "web1").err == "", "who does not wait is told nothing"


def slowly(request: Any) -> Reply:
    time.sleep(0.5)
    return Reply(200, {"message": "VM web1 lives on hv2."})


def test_events_are_shown_as_they_come(pvc: Any, api: Any) -> None:
    """A stream that ends is gone on with after its last event, from whichever API answers then."""
    asked: list[Any] = []

    def answer(request: Any) -> Reply:
        asked.append(request.query.get("last_event_id"))
        if len(asked) == 1:
            return Reply(200, SAID, {"Content-Type": "text/event-stream; charset=utf-8"})
        return Reply(503 if len(asked) < 4 else 401, {"message": "No."})

    api.on("GET /events", answer)
    result = pvc("cluster", "events")
    assert result.out == "vm       web1: migrate, hv2, moves to hv2, 40 %\n"
    assert asked == [None, ["l-7"], ["l-7"], ["l-7"]]
    assert (result.code, "connecting again" in result.err) == (5, True)


def test_an_api_that_tells_no_events_is_no_endless_question(pvc: Any, api: Any) -> None:
    api.on("GET /events", Reply(200, {"data": ""}))
    result = pvc("cluster", "events")
    assert (result.code, "tells no events" in result.err) == (1, True)
