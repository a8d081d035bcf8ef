"""The two headers, question and answer, as JSON; and how an error of pvc_core.errors crosses the channel.

Which questions there are is the business of those who pass handlers to PeerServer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

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
from pvc_core.peer.frames import FRAME_MAX_BYTES
from pvc_core.schema.typed import from_json


class InternalError(PvcError):
    """The process that was asked failed in a way nobody foresaw; its log has the details under the request id."""

    code = "internal"


class Unreachable(Retry):
    """Nobody answered: the process is not there, is stopped, or closed the connection.

    Once connected, what was asked may have happened.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    ask: str
    args: dict[str, Any] = field(default_factory=dict)
    body: bool = False
    """Body frames and a zero frame follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHeader:
    ok: bool
    result: dict[str, Any] = field(default_factory=dict)
    body: bool = False
    code: str = ""
    message: str = ""
    help: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    """What an error class has besides: fields, again_in_s, maybe_written."""


_KINDS: dict[str, type[PvcError]] = {
    kind.code: kind
    for kind in (
        Invalid, Refused, NotFound, Exists, Retry, Permanent, Conflict, StoreUnavailable, InternalError,
    )
}  # fmt: skip
_DETAILS = ("fields", "again_in_s", "maybe_written")


def encode(header: Question | AnswerHeader) -> bytes:
    """Raises Invalid when it does not fit into a frame, TypeError when `args` or `result` hold what JSON cannot."""
    data = msgspec.json.encode(header)
    if len(data) > FRAME_MAX_BYTES:
        raise Invalid(
            f"a header of {len(data)} bytes was to be sent, at most {FRAME_MAX_BYTES} go into one",
            help="large things travel as a body",
        )
    return data


def decode_question(data: bytes) -> Question:
    """Raises Invalid."""
    try:
        return from_json(data, Question)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Invalid(
            f"this is not a question: {error}", help='a question looks like {"ask": "status", "args": {}}'
        ) from error


def decode_answer(data: bytes) -> AnswerHeader:
    """Raises Invalid."""
    try:
        return from_json(data, AnswerHeader)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Invalid(f"this is not an answer: {error}") from error


def refusal(error: PvcError) -> AnswerHeader:
    """`error` as an answer. A class the other side does not know travels as the nearest of its bases that it does."""
    code = next((code for code, kind in _KINDS.items() if isinstance(error, kind)), error.code)
    details = {name: getattr(error, name) for name in _DETAILS if hasattr(error, name)}
    return AnswerHeader(ok=False, code=code, message=error.message, help=error.help, details=details)


def error_of(header: AnswerHeader) -> PvcError:
    """The error an answer carries, ready to be raised."""
    kind = _KINDS.get(header.code)
    if kind is None:
        unknown = PvcError(header.message, help=header.help)
        unknown.code = header.code or PvcError.code
        return unknown
    error = kind(header.message, help=header.help)
    for name in _DETAILS:
        if name in header.details and hasattr(error, name):
            setattr(error, name, header.details[name])
    return error
