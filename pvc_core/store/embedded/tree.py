"""The data: keys with values, versions and grants, changed in memory with a way back until the disk has it.

Protocol: org.apache.zookeeper.server.DataTree and PrepRequestProcessor, ZooKeeper 3.8.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable

from pvc_core.store.codes import Code
from pvc_core.store.embedded import protocol, rights
from pvc_core.store.embedded.protocol import Acl, Declined, Event
from pvc_core.store.embedded.rights import Identities

_HOSTILE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff\U00010000-\U0010ffff]")


class Undo:
    """The way back: closures run last to first."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def add(self, step: Callable[[], object]) -> None:
        self._steps.append(step)

    def mark(self) -> int:
        return len(self._steps)

    def back_to(self, mark: int) -> None:
        while len(self._steps) > mark:
            self._steps.pop()()

    def forget(self) -> None:
        self._steps.clear()


class Node:
    """One key. No data (None) differs from empty data on the wire.

    `creates` counts the children ever made: it numbers sequential keys and gives the child version.
    """

    __slots__ = (
        "acl",
        "aversion",
        "children",
        "creates",
        "ctime",
        "czxid",
        "data",
        "mtime",
        "mzxid",
        "owner",
        "pzxid",
        "version",
    )

    def __init__(self, data: bytes | None, acl: Acl, zxid: int, now_ms: int, owner: int = 0) -> None:
        self.data = data
        self.acl = acl
        self.czxid = self.mzxid = self.pzxid = zxid
        self.ctime = self.mtime = now_ms
        self.version = self.aversion = self.creates = 0
        self.owner = owner
        self.children: set[str] | None = None

    def child_count(self) -> int:
        return len(self.children) if self.children else 0

    def stat(self) -> bytes:
        return protocol.stat(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            _int32(self.version),
            _int32(self.creates * 2 - self.child_count()),
            _int32(self.aversion),
            self.owner,
            len(self.data or b""),
            self.child_count(),
            self.pzxid,
        )


class Tree:
    """Every key. Each change is noted in `undo`, `changed` (path -> whether its value is concerned) and `events`.

    The caller begins each write with next_zxid(), empties `changed` and `events` after each request, and takes back
    what failed or could not be kept.
    """

    def __init__(self, first_zxid: int) -> None:
        self.zxid = first_zxid
        self.undo = Undo()
        self.changed: dict[str, bool] = {}
        self.events: list[tuple[Event, str]] = []
        self.ephemerals: defaultdict[int, set[str]] = defaultdict(set)
        self._nodes: dict[str, Node] = {"/": Node(b"", rights.OPEN, 0, 0)}

    def __len__(self) -> int:
        return len(self._nodes)

    def next_zxid(self) -> None:
        self.zxid += 1

    def take_back(self, mark: int) -> None:
        """Undo what was done since `mark` in this request."""
        self.undo.back_to(mark)
        self.changed.clear()
        self.events.clear()

    def peek(self, path: str) -> Node | None:
        return self._nodes.get(path)

    def find(self, path: str) -> Node:
        node = self._nodes.get(path)
        if node is None:
            raise Declined(Code.NO_NODE if _is_plain(path) else Code.BAD_ARGUMENTS)
        return node

    def restore(self, path: str, node: Node) -> None:
        """Put in a node that was kept on disk; its parent must be there already."""
        self._nodes[path] = node
        if path != "/":
            self._add_child(self._nodes[parent_of(path)], path)

    def create(
        self,
        path: str,
        data: bytes | None,
        grants: Acl,
        identities: Identities,
        *,
        owner: int = 0,
        sequential: bool = False,
    ) -> tuple[str, Node]:
        if not _is_plain(path + "0" if sequential else path):
            raise Declined(Code.BAD_ARGUMENTS)
        if path == "/":
            raise Declined(Code.NODE_EXISTS)
        grants = rights.settled(grants, identities)
        parent = self.find(parent_of(path))
        rights.demand(parent.acl, rights.CREATE, identities)
        if sequential:
            path += f"{_int32(parent.creates):010d}"
        if path in self._nodes:
            raise Declined(Code.NODE_EXISTS)
        if parent.owner:
            raise Declined(Code.NO_CHILDREN_FOR_EPHEMERALS)
        node = Node(data, grants, self.zxid, _now_ms(), owner)
        self._insert(path, node, parent)
        return path, node

    def delete(self, path: str, version: int, identities: Identities) -> None:
        if path == "/":
            raise Declined(Code.BAD_ARGUMENTS)
        node = self.find(path)
        rights.demand(self._nodes[parent_of(path)].acl, rights.DELETE, identities)
        _compare(version, node.version)
        if node.children:
            raise Declined(Code.NOT_EMPTY)
        self._remove(path, node)

    def set_data(self, path: str, data: bytes | None, version: int, identities: Identities) -> Node:
        node = self.find(path)
        rights.demand(node.acl, rights.WRITE, identities)
        _compare(version, node.version)
        before = (node.data, node.mzxid, node.mtime, node.version)
        node.data, node.mzxid, node.mtime, node.version = data, self.zxid, _now_ms(), node.version + 1

        def undo() -> None:
            node.data, node.mzxid, node.mtime, node.version = before

        self.undo.add(undo)
        self.changed[path] = True
        self.events.append((Event.CHANGED, path))
        return node

    def set_acl(self, path: str, grants: Acl, version: int, identities: Identities) -> Node:
        grants = rights.settled(grants, identities)
        node = self.find(path)
        rights.demand(node.acl, rights.ADMIN, identities)
        _compare(version, node.aversion)
        before = (node.acl, node.aversion)
        node.acl, node.aversion = grants, node.aversion + 1

        def undo() -> None:
            node.acl, node.aversion = before

        self.undo.add(undo)
        self.changed.setdefault(path, False)
        return node

    def check(self, path: str, version: int, identities: Identities) -> None:
        node = self.find(path)
        rights.demand(node.acl, rights.READ, identities)
        _compare(version, node.version)

    def end_session(self, session_id: int) -> None:
        """Remove what the session kept alive."""
        for path in sorted(self.ephemerals.get(session_id, ()), reverse=True):
            self._remove(path, self._nodes[path])
        self.ephemerals.pop(session_id, None)

    def _insert(self, path: str, node: Node, parent: Node) -> None:
        before = (parent.creates, parent.pzxid)
        self._nodes[path] = node
        self._add_child(parent, path)
        parent.creates, parent.pzxid = parent.creates + 1, self.zxid
        if node.owner:
            self.ephemerals[node.owner].add(path)

        def undo() -> None:
            del self._nodes[path]
            self._drop_child(parent, path)
            parent.creates, parent.pzxid = before
            self.ephemerals[node.owner].discard(path)

        self._note(undo, path, (Event.CREATED, path), (Event.CHILDREN, parent_of(path)))

    def _remove(self, path: str, node: Node) -> None:
        parent = self._nodes[parent_of(path)]
        before = parent.pzxid
        del self._nodes[path]
        self._drop_child(parent, path)
        parent.pzxid = self.zxid
        self.ephemerals[node.owner].discard(path)

        def undo() -> None:
            self._nodes[path] = node
            self._add_child(parent, path)
            parent.pzxid = before
            if node.owner:
                self.ephemerals[node.owner].add(path)

        self._note(undo, path, (Event.DELETED, path), (Event.CHILDREN, parent_of(path)))

    def _note(self, undo: Callable[[], None], path: str, *events: tuple[Event, str]) -> None:
        self.undo.add(undo)
        self.changed[path] = True
        self.changed.setdefault(parent_of(path), False)
        self.events += events

    def _add_child(self, parent: Node, path: str) -> None:
        if parent.children is None:
            parent.children = set()
        parent.children.add(name_of(path))

    def _drop_child(self, parent: Node, path: str) -> None:
        if parent.children:
            parent.children.discard(name_of(path))


def parent_of(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def name_of(path: str) -> str:
    return path.rpartition("/")[2]


def _is_plain(path: str) -> bool:
    if not path.startswith("/") or _HOSTILE.search(path):
        return False
    return path == "/" or not any(part in ("", ".", "..") for part in path[1:].split("/"))


def _compare(wanted: int, version: int) -> None:
    """-1 is any version; 0 is a version."""
    if wanted not in (-1, _int32(version)):
        raise Declined(Code.BAD_VERSION)


def _int32(number: int) -> int:
    """As Java counts: after the largest comes the smallest."""
    return (number + 2**31) % 2**32 - 2**31


def _now_ms() -> int:
    return int(time.time() * 1000)
