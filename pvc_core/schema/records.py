# SPDX-License-Identifier: LGPL-3.0-or-later
"""Store records as compact JSON with a schema number. What a record means is the model's business.

Adding a field with a default needs no new number: older daemons ignore it, newer ones fill it in. A change of meaning
raises the number of that type, adds a step to UPGRADES, and names in LEVELS the level from which it may be written: one
that every node of the cluster understands. A record newer than this daemon knows is neither acted on nor written over.

The records by which a node lives (ADDITIVE) stay outside: an old daemon that may not write its heartbeat would be taken
for dead.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from pvc_core.errors import Permanent, Refused
from pvc_core.schema.typed import from_json, from_plain

T = TypeVar("T")

SCHEMA: dict[str, int] = {}
"""Current number by type name; 1 for those not listed."""

LEVEL = 1
"""The highest level this PVC understands; one more with each release that changes the meaning of a record."""

LEVELS: dict[tuple[str, int], int] = {}
"""(type name, number) -> the level of the cluster from which that number may be written; 1 for those not listed."""

ADDITIVE = frozenset(
    {
        "Claim",
        "Era",
        "Heartbeat",
        "KeptProof",
        "Leader",
        "Lease",
        "Level",
        "NodePeer",
        "NodeSeen",
        "RemovedNode",
        "RollCall",
        "Verdict",
    }
)
"""Types that keep number 1 for ever and are read by every version, whatever a newer one has added."""

UPGRADES: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""(type name, from number) -> what turns its plain data into that of the next number."""

PLAIN_MAX_BYTES = 200_000
PACKED = b"z"
"""First byte of a record above PLAIN_MAX_BYTES, packed by zlib (RFC 1950): statistics of a thousand guests stay below
the store's 1 MB per value.
"""

_encoder = msgspec.json.Encoder()
_FIRST = (b'{"schema":1,', b'{"schema":1}')


class NewerRecord(Permanent):
    """The record was written by a newer PVC, which alone knows what it means."""

    def __init__(self, kind: str, number: int, known: int) -> None:
        super().__init__(
            f"a record of type {kind} in the store cannot be read: it was written by a newer PVC "
            f"(schema {number}, known here: {known})",
            help="upgrade PVC on this node; nothing was changed",
        )
        self.number, self.known = number, known


def encode(record: object, *, level: int = LEVEL) -> bytes:
    """`record` (a model dataclass) as it is kept in the store of a cluster at `level`.

    Raises Refused when not every node would understand it.
    """
    name = type(record).__name__
    number = SCHEMA.get(name, 1)
    if LEVELS.get((name, number), 1) > level:
        raise Refused(
            f"a record of type {name} can only be written when every node understands it: the cluster is at level "
            f"{level}, this needs {LEVELS[(name, number)]}",
            help="upgrade PVC on all nodes; `pvc cluster check` names those that are behind",
        )
    body = _encoder.encode(record)
    text = b'{"schema":%d%s' % (number, b"," + body[1:] if len(body) > 2 else b"}")
    return text if len(text) <= PLAIN_MAX_BYTES else PACKED + zlib.compress(text, 1)


def decode(data: bytes, kind: type[T]) -> T:
    """The record in `data`. Raises NewerRecord when it is newer than this daemon, Permanent when it is none of this
    kind.
    """
    current = SCHEMA.get(kind.__name__, 1)
    try:
        if data[:1] == PACKED:
            data = zlib.decompress(data[1:])
        if current == 1 and (data.startswith(_FIRST) or kind.__name__ in ADDITIVE):
            return from_json(data, kind)
        plain = msgspec.json.decode(data)
        number = plain.pop("schema", 1)
        if number > current:
            raise NewerRecord(kind.__name__, number, current)
        for older in range(number, current):
            plain = UPGRADES[(kind.__name__, older)](plain)
        return from_plain(plain, kind)
    except (msgspec.MsgspecError, KeyError, AttributeError, TypeError, zlib.error) as error:
        raise Permanent(
            f"a record of type {kind.__name__} in the store cannot be read: {error}",
            help="was it damaged, or written by something else? Nothing was changed",
        ) from error
