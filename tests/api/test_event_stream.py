"""Server-sent events: what changes is told, in order; who is slow is cut off and told; who comes back goes on, or is
told that it cannot.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from pvc_core.services.events import Behind, EventLog

from .fake_compute import definition
from .rig import Api, Rig

Told = tuple[str, str, dict[str, Any]]
"""(event, id, data)."""


@contextmanager
def listening(api: Api, last: str = "", **params: Any) -> Iterator[Iterator[Told]]:
    headers = {"Last-Event-ID": last} if last else {}
    with api.client() as client, client.stream("GET", "/events", params=params, headers=headers) as answer:
        assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/event-stream"
        yield told(answer.iter_lines())


def told(lines: Iterator[str]) -> Iterator[Told]:
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and fields:
            yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
            fields = {}


def until(events: Iterator[Told], kind: str, **wanted: Any) -> Told:
    return next(one for one in events if one[0] == kind and all(one[2].get(k) == v for k, v in wanted.items()))


def test_what_changes_is_told(api: Api, client: httpx2.Client) -> None:
    with listening(api) as events:
        assert next(events)[0] == "ready"
        client.post("/vm", data={"xml": definition("told")})
        assert until(events, "vm", name="told")[2]["state"] == "stop"
        client.post("/vm/told/state", data={"state": "start"})
        assert until(events, "vm", name="told", state="start", status="running")[2]["node"] == "hv1"
        client.post("/storage/ceph/volume", data={"pool": "vms", "volume": "told", "size": "1G"})
        assert until(events, "task", name="volume.create", state="SUCCESS")[2]["current"] == 1
        assert until(events, "volume", name="vms/told")
        client.post("/status", data={"state": "true"})
        assert until(events, "cluster", maintenance=True)
        client.post("/status", data={"state": "false"})
        client.delete("/vm/told")
        assert until(events, "vm", removed=True)[2]["name"] == "told"


def test_only_what_is_asked_for(api: Api, client: httpx2.Client) -> None:
    with listening(api, kind="volume,pool") as events:
        next(events)
        client.post("/vm", data={"xml": definition("unheard")})
        client.post("/storage/ceph/volume", data={"pool": "vms", "volume": "heard", "size": "1G"})
        assert next(events)[0] == "volume"
    assert client.get("/events", params={"kind": "nonsense"}).status_code == 400


def test_who_comes_back_goes_on_where_it_was(api: Api, client: httpx2.Client) -> None:
    with listening(api) as events:
        client.post("/vm", data={"xml": definition("before")})
        last = until(events, "vm", name="before")[1]
    client.post("/vm", data={"xml": definition("between")})
    for params in ({"last": last}, {"last_event_id": last}):
        with listening(api, **params) as events:
            assert next(events)[0] == "ready"
            assert until(events, "vm", name="between")
    life, _, number = last.rpartition("-")
    for unknown in (f"another-{number}", f"{life}-99999999", "nonsense", f"{life}-", "x" * 500):
        with listening(api, last=unknown) as events:
            event, id, data = next(events)
            assert event == "reset" and "not known" in data["reason"] and id.startswith(life)


def test_who_is_too_slow_is_cut_off_and_told(rig: Rig) -> None:
    log = EventLog(rig.services.desk, kept=5)
    log._note(frozenset(f"/pvc/state/volumes/vms@v{number}" for number in range(3)))
    assert [event.number for event in log.after(0, wait_s=0, closed=lambda: False)] == [1, 2, 3]
    log._note(frozenset(f"/pvc/state/volumes/vms@v{number}" for number in range(5)))
    with pytest.raises(Behind, match="3 events"):
        log.after(0, wait_s=0, closed=lambda: False)
    assert [event.number for event in log.after(7, wait_s=0, closed=lambda: False)] == [8]
    assert log.after(8, wait_s=0.01, closed=lambda: False) == []


def test_a_listener_that_does_not_read_hears_why_it_ended(api: Api) -> None:
    """Over a real socket: nothing is read while more happens than is kept, then all that was sent is."""
    log = api.rig.services.events
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.settimeout(30)
        slow.connect(("127.0.0.1", api.frontend.port))
        slow.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nX-Api-Key: {api.key}\r\n\r\n".encode())
        text = slow.recv(100)
        for _ in range(12):
            log._note(frozenset(f"/pvc/state/volumes/vms@{'v' * 100}{number}" for number in range(4000)))
        while piece := slow.recv(65536):
            text += piece
            if b"event: cut" in text[-4000:]:
                break
    assert b"event: cut" in text and b"not kept any more" in text


def test_a_listener_ends_with_the_view_and_holds_nobody(api: Api) -> None:
    with listening(api) as events:
        next(events)
        heard: list[Told] = []
        thread = threading.Thread(target=lambda: heard.append(next(events)), daemon=True)
        thread.start()
        api.rig.services.events._note(None)
        thread.join(10)
        assert heard and heard[0][0] == "reset"
    until_s = time.monotonic() + 10
    while api.frontend._dispatcher and api.frontend._dispatcher._streams and time.monotonic() < until_s:
        time.sleep(0.05)
    assert api.frontend._dispatcher and api.frontend._dispatcher._streams == 0
