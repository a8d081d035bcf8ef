# SPDX-License-Identifier: LGPL-3.0-or-later
"""JSON and plain data into typed values, from any thread. What the values mean is the callers' business.

msgspec 0.22 learns a class when it meets it for the first time, and shows what it has learned so far to other threads:
two that meet the same dataclass at the same moment end the process (a NULL key read, segmentation fault). So every
type is learned here first, by one thread at a time.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_learned: set[Any] = set()
_learning = threading.Lock()


def from_json(data: bytes, kind: type[T]) -> T:
    """The value of type `kind` in the JSON text `data`. Raises msgspec.MsgspecError when there is none."""
    _learn(kind)
    return msgspec.json.decode(data, type=kind)


def from_plain(plain: Any, kind: type[T]) -> T:
    """`plain` (dicts, lists, numbers, strings) as a value of type `kind`. Raises msgspec.ValidationError when it is
    none.
    """
    _learn(kind)
    return msgspec.convert(plain, kind)


def _learn(kind: Any) -> None:
    if kind in _learned:
        return
    with _learning:
        msgspec.json.Decoder(kind)
        _learned.add(kind)
