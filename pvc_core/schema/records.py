# SPDX-License-Identifier: LGPL-3.0-or-later
"""Store records as compact JSON with a schema number. What a record means is the model's business.

Adding a field with a default needs no new number: older daemons ignore it, newer ones fill it in. A change of meaning
raises the number of that type and adds a step to UPGRADES; a record newer than this daemon knows is never rewritten
by it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from pvc_core.errors import Permanent

T = TypeVar("T")

SCHEMA: dict[str, int] = {}
"""Current number by type name; 1 for those not listed."""

UPGRADES: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""(type name, from number) -> what turns its plain data into that of the next number."""

PLAIN_MAX_BYTES = 200_000
PACKED = b"z"
"""First byte of a record above PLAIN_MAX_BYTES, packed by zlib (RFC 1950): statistics of a thousand guests stay below
the store's 1 MB per value.
"""

_encoder = msgspec.json.Encoder()


def encode(record: object) -> bytes:
    """`record` (a model dataclass) as it is kept in the store."""
    body = _encoder.encode(record)
    number = SCHEMA.get(type(record).__name__, 1)
    text = b'{"schema":%d%s' % (number, b"," + body[1:] if len(body) > 2 else b"}")
    return text if len(text) <= PLAIN_MAX_BYTES else PACKED + zlib.compress(text, 1)


def decode(data: bytes, kind: type[T]) -> T:
    """The record in `data`. Raises Permanent when it is newer than this daemon, or no record of this kind."""
    current = SCHEMA.get(kind.__name__, 1)
    try:
        if data[:1] == PACKED:
            data = zlib.decompress(data[1:])
        if current == 1:
            return msgspec.json.decode(data, type=kind)
        plain = msgspec.json.decode(data)
        for number in range(plain.pop("schema", 1), current):
            plain = UPGRADES[(kind.__name__, number)](plain)
        return msgspec.convert(plain, kind)
    except (msgspec.MsgspecError, KeyError, AttributeError, zlib.error) as error:
        raise Permanent(
            f"a record of type {kind.__name__} in the store cannot be read: {error}",
            help="was it written by a newer version of PVC? Upgrade this node; nothing was changed",
        ) from error
