"""Answering one question on one connected stream: read it, call its handler, send what it returns.

Knows no transport; threads and limits are server.py's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pvc_core.errors import Invalid, NotFound, PvcError, Retry
from pvc_core.ids import new_request_id
from pvc_core.peer import wire
from pvc_core.peer.frames import Garbage, Gone, Stream
from pvc_core.peer.wire import AnswerHeader, InternalError, Question

_log = logging.getLogger(__name__)

HEADER_WAIT_S = 5.0
_DRAIN_S = 2.0
"""How long a client that is answered in the middle of its upload may take to notice."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`result` is plain data for JSON. `body` follows it.

    A b"" item of `body` sends nothing, but looks whether the client is still there: a body that waits for something (a
    console) yields one every second or so. When the client has gone, `body.close()` is called if there is one.
    """

    result: dict[str, Any] = field(default_factory=dict)
    body: Iterable[bytes] | None = None


Handler = Callable[[Mapping[str, Any], Iterator[bytes]], Answer]
"""Called with the question's args and its body (empty if it has none), in a thread of its own.

The body's iterator raises Retry when the client goes before its end: an upload that raises is to be thrown away.
A PvcError becomes the answer; any other exception is logged and answered as "internal".
"""


def answer_one(stream: Stream, handlers: Mapping[str, Handler], *, idle_s: float) -> None:
    """Everything one connection is for. Returns when it is over, however; raises nothing."""
    try:
        question = wire.decode_question(stream.receive(HEADER_WAIT_S))
        body = _body(stream, question, idle_s)
        answer = _ask_handler(handlers, question, body)
    except Gone:
        return
    except Garbage as error:
        _refuse(stream, Invalid(f"this is not a question: {error}"), idle_s)
    except PvcError as error:
        _refuse(stream, error, idle_s)
    else:
        _send_answer(stream, question, answer, idle_s)


def refuse_busy(stream: Stream, open_count: int) -> None:
    """Tell a client that there is no room; never waits."""
    busy = Retry(f"{open_count} questions are being answered already", again_in_s=1.0, help="ask again in a moment")
    with suppress(Gone):  # it did not wait for the answer
        stream.send(wire.encode(wire.refusal(busy)), 0.05)


def refuse(stream: Stream, error: PvcError) -> None:
    """Tell a client that nothing it asks will be answered; raises nothing."""
    _refuse(stream, error, HEADER_WAIT_S)


def _body(stream: Stream, question: Question, idle_s: float) -> Iterator[bytes]:
    if not question.body:
        return
    try:
        yield from stream.body(idle_s)
    except (Gone, Garbage) as error:
        raise Retry(f"what was sent along with {question.ask!r} broke off: {error}", help="send it again") from error


def _ask_handler(handlers: Mapping[str, Handler], question: Question, body: Iterator[bytes]) -> Answer:
    handler = handlers.get(question.ask)
    if handler is None:
        raise NotFound(f"the question {question.ask[:100]!r} is not known here", help="does a newer version ask?")
    try:
        return handler(question.args, body)
    except PvcError:
        raise
    except Exception as error:  # the handler's bug: told to who asked, and raised on
        raise _internal(question, error) from error


def _internal(question: Question, error: Exception) -> InternalError:
    request_id = new_request_id()
    _log.error("answering %r failed, request id %s", question.ask[:100], request_id, exc_info=error)
    return InternalError(
        f"answering {question.ask!r} failed inside the daemon (request id {request_id})",
        help="this is a bug; the daemon's log has the details under that id",
    )


def _send_answer(stream: Stream, question: Question, answer: Answer, idle_s: float) -> None:
    try:
        try:
            header = wire.encode(AnswerHeader(ok=True, result=answer.result, body=answer.body is not None))
        except (Invalid, TypeError, ValueError) as error:
            _refuse(stream, _internal(question, error), idle_s)
            return
        stream.send(header, idle_s)
        if answer.body is not None:
            _send_body(stream, answer.body, idle_s)
        if question.body:
            stream.drain(_DRAIN_S)
    except Gone:
        pass  # the client has left; what it asked for has been done
    except Exception as error:  # noqa: BLE001 - the handler's body, of which nothing is known here
        _log.error("the body of the answer to %r broke off", question.ask[:100], exc_info=error)
    finally:
        _close_body(answer.body, question)


def _send_body(stream: Stream, body: Iterable[bytes], idle_s: float) -> None:
    for piece in body:
        if piece:
            stream.send_piece(piece, idle_s)
        elif stream.other_is_gone():
            return
    stream.end_body(idle_s)


def _close_body(body: Iterable[bytes] | None, question: Question) -> None:
    close = getattr(body, "close", None)
    if close is None:
        return
    try:
        close()
    except Exception as error:  # noqa: BLE001 - the handler's clean-up, of which nothing is known here
        _log.error("cleaning up after %r failed", question.ask[:100], exc_info=error)


def _refuse(stream: Stream, error: PvcError, idle_s: float) -> None:
    try:
        stream.send(wire.encode(wire.refusal(error)), idle_s)
    except Gone:
        return
    stream.drain(_DRAIN_S)
