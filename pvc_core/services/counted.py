"""What is counted over all VMs is counted once per change, not once per question."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Counted(Generic[T]):
    """A value made of tables of the picture (ClusterView), made anew when one of them is another object: a table is
    never changed in place, so the same object means the same content.

    A table that changes while the value is made only lets it be made once more. Of many who ask at once one makes it.
    """

    def __init__(self) -> None:
        self._of: tuple[tuple[Any, ...], T] | None = None
        self._one_at_a_time = threading.Lock()

    def of(self, tables: tuple[Any, ...], make: Callable[[], T]) -> T:
        """`tables` is read before `make` is called, so that the value is never older than they are."""
        found = self._of
        if found is not None and _same(found[0], tables):
            return found[1]
        with self._one_at_a_time:
            found = self._of
            if found is None or not _same(found[0], tables):
                found = self._of = (tables, make())
            return found[1]


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return len(one) == len(other) and all(left is right for left, right in zip(one, other, strict=True))
