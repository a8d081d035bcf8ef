"""Plain HTTP to a lab's API, nothing tidied up on the way, and a picture of all a cluster holds, to compare."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import node
from tests.lab_fixture import RunningLab

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
Words = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is sent, as it is: `path` below /api/v1 goes out unchanged, so that it may be anything."""

    method: str = "GET"
    path: str
    query: Words = field(default_factory=dict)
    form: Words | None = None
    json: object = None
    body: bytes | Iterable[bytes] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def target(self, base: str) -> str:
        query = urllib.parse.urlencode(self.query, doseq=True)
        return f"{base}{self.path}{'?' + query if query else ''}"

    def content(self) -> tuple[dict[str, str], bytes | Iterable[bytes] | None]:
        if self.form is not None:
            return {"Content-Type": FORM}, urllib.parse.urlencode(self.form, doseq=True).encode()
        if self.json is not None:
            return {"Content-Type": JSON}, json.dumps(self.json).encode()
        return {}, self.body


class Talk:
    """A lab's API in bare words, as `key` may use it."""

    def __init__(self, lab: RunningLab, key: str | None = "") -> None:
        where = urllib.parse.urlsplit(lab.api_url)
        self._host, self._base = where.netloc, where.path
        self._key = lab.api_key if key == "" else key

    def ask(self, request: Request, *, timeout_s: float = 60.0) -> Answer:
        """The answer, whatever it is."""
        return self._ask(request, timeout_s)

    def _ask(self, request: Request, timeout_s: float) -> Answer:
        own, body = request.content()
        headers = {**({"X-Api-Key": self._key} if self._key else {}), **own, **request.headers}
        line = http.client.HTTPConnection(self._host, timeout=timeout_s)
        try:
            line.putrequest(request.method, request.target(self._base), skip_accept_encoding=True)
            for name, value in headers.items():
                line.putheader(name, value)
            if isinstance(body, bytes):
                line.putheader("Content-Length", str(len(body)))
                line.endheaders()
                _send(line, body)
            else:
                line.endheaders()
            answer = line.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            line.close()

    def get(self, path: str, **query: Any) -> Any:
        return self.ok(Request(path=path, query=query))

    def ok(self, request: Request) -> Any:
        """Ask, and insist on success. The JSON that came."""
        answer = self.ask(request)
        assert answer.status < 300, f"{request.method} {request.path}: {answer.status} {answer.body[:500]!r}"
        return answer.json

    def done(self, request: Request, *, deadline_s: float = 60.0) -> Any:
        """As `ok`; a task (202) is waited for and must succeed."""
        answer = self.ask(request)
        assert answer.status < 300, f"{request.method} {request.path}: {answer.status} {answer.body[:500]!r}"
        if answer.status != 202:
            return answer.json
        end = time.monotonic() + deadline_s
        while (task := self.get(f"/tasks/{answer.json['task_id']}"))["state"] not in ("SUCCESS", "FAILURE"):
            assert time.monotonic() < end, f"not done after {deadline_s:.0f} s: {task}"
            time.sleep(0.1)
        assert task["state"] == "SUCCESS", task
        return task


def _send(line: http.client.HTTPConnection, body: bytes) -> None:
    """A server may answer before it has taken all of it."""
    try:
        line.send(body)
    except (BrokenPipeError, ConnectionResetError):
        pass


def everything(lab: RunningLab, talk: Talk) -> dict[str, Any]:
    """All that the cluster holds, without what moves by itself (counters, times, sentences of running guests)."""
    whole = {path: talk.get(path) for path in ("/vm", "/storage/ceph/volume", "/storage/ceph/snapshot", "/tasks")}
    whole["pools"] = [{**pool, "stats": None} for pool in talk.get("/storage/ceph/pool")]
    whole["nodes"] = [(one["name"], one["daemon_state"], one["domain_state"]) for one in talk.get("/node")]
    whole["/vm"] = [_still(vm) for vm in whole["/vm"]]
    whole["files"] = files(lab)
    return whole


def files(lab: RunningLab) -> list[str]:
    """Everything below the pools' directory."""
    top = pool_dir(lab)
    return sorted(str(path.relative_to(top)) for path in top.rglob("*"))


def pool_dir(lab: RunningLab) -> Path:
    return lab._lab.root / "volumes"


def run(lab: RunningLab, *argv: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """A command inside the node, however it ends. One that does not end in time is killed and fails the test."""
    return node.enter(lab._init("hv1"), ["timeout", "--signal=KILL", str(timeout_s), *argv])


def qemus(lab: RunningLab, uuid: str) -> list[int]:
    """The QEMU processes that carry this UUID, as the node's process table has them."""
    found = run(lab, "pgrep", "-f", f"[q]emu-system.*-uuid {uuid}").stdout.split()
    return [int(pid) for pid in found]


def tracebacks(lab: RunningLab, units: Sequence[str] = ("pvcnoded", "pvcapid", "pvcguard", "pvcstored")) -> list[str]:
    """Every place in the daemons' logs where Python tells of an error nobody expected."""
    found = []
    for unit in units:
        lines = lab.logs("hv1", unit).splitlines()
        for number, line in enumerate(lines):
            if "a request failed" in line:
                found.append(f"{unit}: {line[:2000]}")
            if "Traceback (most recent call last)" in line:
                found.append(f"{unit}: " + " / ".join(lines[number : number + 40])[:3000])
    return found


def _still(vm: Any) -> dict[str, Any]:
    """A VM without its counters."""
    kept = {name: value for name, value in vm.items() if not name.endswith("_stats")}
    for kind in ("networks", "disks"):
        kept[kind] = [{k: v for k, v in item.items() if not k.startswith(("rd_", "wr_"))} for item in vm[kind]]
    return kept
