"""Reading everything below a prefix in few packets: many reads per packet, several packets on the way at once.

10,000 small keys are some 25 packets. Reads go level by level, since a key's children are known only with the key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kazoo.protocol.serialization import GetChildren, GetData

from pvc_core.store import codes
from pvc_core.store.base import Entry
from pvc_core.store.codes import Code
from pvc_core.store.zookeeper.order import Order
from pvc_core.store.zookeeper.packets import Failed, MultiRead

_ON_THE_WAY = 3
_FIRST_READS = 32
_MOST_READS = 500
_ANSWER_BYTES = 1_000_000
"""What one answer should have at most; how many keys that are is learnt from the values seen so far."""

Post = Callable[[MultiRead], Order]
Collect = Callable[[Order], Any]


def read_tree(prefix: str, post: Post, collect: Collect) -> dict[str, Entry]:
    """Every entry at and below `prefix`. A key that went meanwhile is left out."""
    entries: dict[str, Entry] = {}
    level = [prefix]
    reader = _Reader(post, collect)
    while level:
        parents = []
        for key, (value, stat) in reader.values(level):
            entries[key] = Entry(key, value, stat.version, stat.mzxid, stat.ephemeralOwner != 0)
            if stat.numChildren:
                parents.append(key)
        level = [_join(key, name) for key, names in reader.names(parents) for name in names]
    return entries


class _Reader:
    def __init__(self, post: Post, collect: Collect) -> None:
        self._post = post
        self._collect = collect
        self._seen_bytes = 0
        self._seen = 0

    def values(self, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
        for key, answer in self._read(keys, GetData):
            self._seen += 1
            self._seen_bytes += len(answer[0]) + 100
            yield key, answer

    def names(self, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
        return self._read(keys, GetChildren)

    def _read(self, keys: Sequence[str], packet: type[GetData | GetChildren]) -> Iterator[tuple[str, Any]]:
        waiting: deque[tuple[Sequence[str], Order]] = deque()
        start = 0
        while start < len(keys) or waiting:
            while start < len(keys) and len(waiting) < _ON_THE_WAY:
                batch = keys[start : start + self._batch()]
                waiting.append((batch, self._post(MultiRead([packet(key, None) for key in batch]))))
                start += len(batch)
            batch, order = waiting.popleft()
            yield from _present(batch, self._collect(order))

    def _batch(self) -> int:
        if not self._seen:
            return _FIRST_READS
        return max(1, min(_MOST_READS, _ANSWER_BYTES * self._seen // self._seen_bytes))


def _present(keys: Sequence[str], answers: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for key, answer in zip(keys, answers, strict=True):
        if not isinstance(answer, Failed):
            yield key, answer
        elif answer.code not in (Code.NO_NODE, Code.NO_AUTH):
            raise codes.error_for(answer.code, "read", key, user=None)


def _join(parent: str, name: str) -> str:
    return f"/{name}" if parent == "/" else f"{parent}/{name}"
