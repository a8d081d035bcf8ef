"""What a route is, what its handler gets (Call) and may answer (Answer, Streamed). Knows nothing of HTTP servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from marshmallow import Schema

from pvc_api_falcon.bodies import VmBodies
from pvc_api_falcon.settings import BASE
from pvc_api_falcon.tickets import Tickets
from pvc_core.model.task import Task
from pvc_core.services import Services

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"


class Flow(Protocol):
    """Bytes as they come; closed from any thread."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON


@dataclass(frozen=True, slots=True)
class Streamed:
    """A body that is sent while it comes into being. `whole`: one that breaks off must look broken to the client."""

    flow: Flow
    content_type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request on its way to the services."""

    services: Services
    vm_bodies: VmBodies
    by: str
    """Who asks: the name of an API key, or "local"."""
    role: str = "admin"
    names: Mapping[str, str]
    """What stands in the path for {vm}, {node}, ..."""
    args: Mapping[str, Any]
    """Parameters, loaded by the route's schema."""
    if_match: str = ""
    last_event_id: str = ""
    secure: bool = False
    """It came over TLS."""
    tickets: Tickets
    upload: Iterable[bytes] = ()
    upload_bytes: int | None = None
    """How many they will be, as far as the client said."""


Handler = Callable[[Call], Answer | Streamed]


class Nothing(Schema):
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    method: str
    path: str
    """Below /api/v1, with {names}."""
    does: Handler
    help: str
    """One sentence for docs/api.md and the OpenAPI document."""
    takes: type[Schema] | None = Nothing
    """None: the request is answered without reading what it brings."""
    gives: Any = None
    """The type of its answer in JSON; None: a message (or 202 with a task)."""
    missing: int = 0
    """The status when the object is not there: 404 for GET and 400 for the rest, unless the wire has it otherwise."""
    open: bool = False
    """Needs no key."""
    content_type: str = JSON
    """Of what it answers."""
    asks: bool = False
    """For a GET: asks a node or waits, so it does not go with those that only look at the picture."""
    task: bool = False
    """Answers 202."""
    free: bool = False
    """Parameters beyond `takes` are handed on as they came."""
    body_limit_bytes: int = 0
    """0: what pvc.yaml says (body_limit)."""
    login: bool = False
    """Its parameter `token` is a key, which must be right."""
    tells_version: bool = False
    """A change that is answered with the ETag of what it made."""
    metrics: bool = False
    """Open, needs a key or is not there, as plugins.api_falcon.metrics says."""
    socket: bool = False
    """A websocket is answered there, and nothing else."""
    upload: bool = False
    """The body is a file; parameters come in the query only."""

    @property
    def status_if_missing(self) -> int:
        return self.missing or (404 if self.method == "GET" else 400)

    @property
    def looks(self) -> bool:
        return self.method == "GET" and not self.asks


def data(value: object, *, etag: str = "") -> Answer:
    return Answer(body=msgspec.json.encode(value), headers={"ETag": etag} if etag else {})


def said(sentence: str) -> Answer:
    return data({"message": sentence})


def started(task: Task, primary: str, *, name: str = "") -> Answer:
    """202, as everywhere the wire's table says task."""
    body = {"task_id": task.id, "task_name": name or task.kind, "run_on": task.node or primary}
    return Answer(202, msgspec.json.encode(body), {"Location": f"{BASE}/tasks/{task.id}"})
