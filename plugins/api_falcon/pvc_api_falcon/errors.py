"""Every HTTP status is decided here, by `problem`. The errors below are the API's own, beside pvc_core.errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from pvc_core.errors import (
    Conflict,
    Exists,
    Invalid,
    NotFound,
    Permanent,
    PvcError,
    Refused,
    Retry,
    StoreUnavailable,
)
from pvc_core.services.events import Behind


class BadParameters(Invalid):
    """Parameters are wrong; `fields` says which and why, and goes out as the message, as PVC's clients expect."""

    def __init__(self, fields: dict[str, str], *, help: str = "") -> None:
        super().__init__("; ".join(f"{name}: {why}" for name, why in fields.items()), help=help, fields=fields)


class Unauthenticated(PvcError):
    code = "unauthenticated"


class Forbidden(PvcError):
    code = "forbidden"


class TooMany(PvcError):
    """Too many wrong keys from one address."""

    code = "too_many_attempts"

    def __init__(self, message: str, *, again_in_s: float = 60.0, help: str = "") -> None:
        super().__init__(message, help=help)
        self.again_in_s = again_in_s


class NoSuchPath(PvcError):
    code = "no_such_path"


class NoSuchMethod(PvcError):
    """`allow` lists the methods the path has."""

    code = "no_such_method"

    def __init__(self, message: str, *, allow: str, help: str = "") -> None:
        super().__init__(message, help=help)
        self.allow = allow


class ChangedMeanwhile(PvcError):
    code = "changed_meanwhile"


class TooBig(PvcError):
    code = "too_big"


class TooSlow(PvcError):
    code = "too_slow"


class Unsupported(PvcError):
    code = "unsupported_media_type"


class NoSocket(PvcError):
    """Asked with plain HTTP what only a websocket answers."""

    code = "websocket_only"


class NotYet(PvcError):
    """Known, but not there in this version."""

    code = "not_implemented"


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that is a no."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


_STATUS: tuple[tuple[type[PvcError], int], ...] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NoSuchPath, 404),
    (NoSuchMethod, 405),
    (TooSlow, 408),
    (Conflict, 409),
    (ChangedMeanwhile, 412),
    (TooBig, 413),
    (Unsupported, 415),
    (NoSocket, 426),
    (TooMany, 429),
    (NotYet, 501),
    (Retry, 503),
    (StoreUnavailable, 503),
    # The wire knows 400 for all that is refused; `code` tells programs which it was.
    (Behind, 400),
    (Invalid, 400),
    (Exists, 400),
    (Refused, 400),
    (Permanent, 400),
)


STATUSES = {
    400: "The input is wrong, or a rule forbids it as things stand.",
    401: "No key, or none that is known.",
    403: "This key may not.",
    404: "There is no such object.",
    408: "The body did not come in time.",
    409: "Somebody wrote at the same moment, or the same request is being worked on.",
    412: "Somebody changed it since it was read.",
    413: "The body is too big.",
    414: "The path is too long.",
    415: "A body of this type is not understood.",
    426: "Only a websocket is answered here.",
    429: "Too many wrong keys from this address.",
    431: "The head is too long.",
    500: "A fault of PVC itself.",
    501: "Not there in this version.",
    503: "Not now; ask again after Retry-After seconds.",
}
"""What each means, for the OpenAPI document."""


def problem(error: Exception, *, request_id: str, missing: int = 404) -> Problem:
    """The answer to an error. `missing` is the status of NotFound on this route (the wire has both 404 and 400)."""
    if not isinstance(error, PvcError):
        return _unexpected(request_id)
    status = (
        missing
        if isinstance(error, NotFound)
        else next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    )
    message: Any = error.fields if isinstance(error, BadParameters) else error.message
    body = {"message": message, "code": error.code, "help": error.help, "request_id": request_id}
    if isinstance(error, Invalid) and error.fields:
        body["fields"] = error.fields
    if isinstance(error, StoreUnavailable):
        body["maybe_written"] = error.maybe_written
    return Problem(status, body, _headers(error))


def _headers(error: PvcError) -> dict[str, str]:
    if isinstance(error, (Retry, TooMany)):
        return {"Retry-After": str(max(1, math.ceil(error.again_in_s)))}
    if isinstance(error, StoreUnavailable):
        return {"Retry-After": "2"}
    if isinstance(error, NoSocket):
        return {"Upgrade": "websocket"}
    return {"Allow": error.allow} if isinstance(error, NoSuchMethod) else {}


def _unexpected(request_id: str) -> Problem:
    message = "this request ran into a fault of PVC itself"
    help = f"the log of pvcapid tells more under request id {request_id}"
    return Problem(500, {"message": message, "code": "internal", "help": help, "request_id": request_id})
