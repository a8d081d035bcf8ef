"""Who is told when a key changes: watches that fire once, and persistent ones (also recursive).

Protocol: org.apache.zookeeper.server.watch.WatchManager, AddWatchMode, ZooKeeper 3.8.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from enum import Enum
from typing import Generic, TypeVar

from pvc_core.store.embedded.protocol import Event
from pvc_core.store.embedded.tree import Undo

Watcher = TypeVar("Watcher", bound=Hashable)


class Kind(Enum):
    DATA = "data"
    CHILD = "child"
    PERSISTENT = "persistent"
    RECURSIVE = "recursive"


_ONCE = {
    Event.CREATED: (Kind.DATA,),
    Event.CHANGED: (Kind.DATA,),
    Event.DELETED: (Kind.DATA, Kind.CHILD),
    Event.CHILDREN: (Kind.CHILD,),
}


class Watches(Generic[Watcher]):
    """Watchers (connections) by kind and path."""

    def __init__(self) -> None:
        self._watchers: dict[tuple[Kind, str], dict[Watcher, None]] = {}
        self._places: dict[Watcher, set[tuple[Kind, str]]] = {}

    def add(self, kind: Kind, path: str, watcher: Watcher) -> None:
        self._watchers.setdefault((kind, path), {})[watcher] = None
        self._places.setdefault(watcher, set()).add((kind, path))

    def drop(self, watcher: Watcher) -> None:
        """The connection is gone, and its watches with it."""
        for place in self._places.pop(watcher, ()):
            self._remove(place, watcher)

    def due(self, event: Event, path: str, undo: Undo) -> list[Watcher]:
        """Who is to be told of `event`, each once; those that fire once are used up, unless `undo` brings them back."""
        told: dict[Watcher, None] = {}
        for kind in _ONCE[event]:
            told |= self._use_up((kind, path), undo)
        told |= self._watchers.get((Kind.PERSISTENT, path), {})
        if event is not Event.CHILDREN:
            for above in _upwards(path):
                told |= self._watchers.get((Kind.RECURSIVE, above), {})
        return list(told)

    def _use_up(self, place: tuple[Kind, str], undo: Undo) -> dict[Watcher, None]:
        watchers = self._watchers.pop(place, {})
        for watcher in watchers:
            self._places[watcher].discard(place)
        if watchers:
            undo.add(lambda: self._put_back(place, watchers))
        return watchers

    def _put_back(self, place: tuple[Kind, str], watchers: dict[Watcher, None]) -> None:
        for watcher in watchers:
            self.add(*place, watcher)

    def _remove(self, place: tuple[Kind, str], watcher: Watcher) -> None:
        watchers = self._watchers.get(place, {})
        watchers.pop(watcher, None)
        if not watchers:
            self._watchers.pop(place, None)


def _upwards(path: str) -> Iterator[str]:
    while path != "/":
        yield path
        path = path.rpartition("/")[0] or "/"
    yield "/"
