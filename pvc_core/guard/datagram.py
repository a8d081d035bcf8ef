"""What guards (and judges) say to each other over UDP: questions and answers, each in one datagram with an HMAC.

A datagram is b"PVG1", one byte "Q" or "A", 32 bytes HMAC-SHA256 (RFC 2104) over all the rest, and JSON. The key is
derived from the secret the nodes share for the store. An answer carries the question's nonce and is worth nothing to
anybody else; a question that is said again by somebody else asks for nothing the first one had not.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import msgspec

from pvc_core.schema.typed import from_json

MAX_BYTES = 1200
"""Fits into any network's frame whole."""
_MAGIC, _MAC_BYTES = b"PVG1", 32
_WHY_MAX = 400

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`alive`: are you there? `promise` (to a coordinator): the asker has no store; shall it be spared for a while?
    `release` (to a suspect): your `incarnation` is given up: end your guests and say so.
    """

    ask: Literal["alive", "promise", "release"]
    asker: str
    node: str
    """Who is asked."""
    nonce: str
    incarnation: str = ""
    """promise: the asker's own; release: the one that is given up."""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whatever was asked, `node` says how it stands with it."""

    node: str
    nonce: str
    incarnation: str
    heard_ago_s: float | None = None
    """Since its last accepted heartbeat was sent; None: none was in this incarnation."""
    has_store: bool = False
    condemned: bool = False
    promised_s: float = 0.0
    """promise: for so long after the question was sent it agrees to no verdict on that incarnation; 0: no promise."""
    gone: bool = False
    """release: the incarnation in question is over and all its guests are seen gone: the node's word."""


def new_nonce() -> str:
    return secrets.token_hex(12)


def key_from(secret: str) -> bytes:
    return hmac.digest(secret.encode(), b"pvcguard datagrams 1", hashlib.sha256)


def seal(key: bytes, message: Question | Answer) -> bytes:
    if isinstance(message, Question) and len(message.why) > _WHY_MAX:
        message = replace(message, why=message.why[:_WHY_MAX])
    kind = b"Q" if isinstance(message, Question) else b"A"
    body = msgspec.json.encode(message)
    return _MAGIC + kind + _mac(key, kind, body) + body


def open_question(key: bytes, datagram: bytes) -> Question | None:
    """None for everything that is not a question of one who knows the key."""
    return _open(key, datagram, b"Q", Question)


def open_answer(key: bytes, datagram: bytes) -> Answer | None:
    return _open(key, datagram, b"A", Answer)


def _open(key: bytes, datagram: bytes, kind: bytes, type: type[T]) -> T | None:
    head = len(_MAGIC) + 1
    if len(datagram) > MAX_BYTES or datagram[:head] != _MAGIC + kind:
        return None
    mac, body = datagram[head : head + _MAC_BYTES], datagram[head + _MAC_BYTES :]
    if not hmac.compare_digest(mac, _mac(key, kind, body)):
        return None
    try:
        return from_json(body, type)
    except msgspec.MsgspecError:
        return None  # of another version


def _mac(key: bytes, kind: bytes, body: bytes) -> bytes:
    return hmac.digest(key, kind + body, hashlib.sha256)
