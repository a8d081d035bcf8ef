"""One request: from its bytes to the body of its answer, by way of the tree and the watches.

Protocol: org.apache.zookeeper.server.FinalRequestProcessor and PrepRequestProcessor, ZooKeeper 3.8.
"""

from __future__ import annotations

from typing import Any, Protocol

from pvc_core.store.codes import Code
from pvc_core.store.embedded import protocol, rights
from pvc_core.store.embedded.protocol import Declined, Op, Reader
from pvc_core.store.embedded.rights import Identities
from pvc_core.store.embedded.tree import Node, Tree
from pvc_core.store.embedded.watches import Kind, Watches

_EPHEMERAL, _SEQUENTIAL = 1, 2
_PERSISTENT_KINDS = {0: Kind.PERSISTENT, 1: Kind.RECURSIVE}


SEAL = "/pvc/moved"
"""While this key is there nothing is written but its own removal: the content lives elsewhere now. It is as durable as
every key, and it is up to its grants who may make it.
"""


class Asker(Protocol):
    """Whose request it is: a connection, which is also what a watch tells."""

    @property
    def identities(self) -> Identities: ...

    @property
    def session_id(self) -> int: ...


class Requests:
    """Answers requests. A write leaves its traces in the tree's undo, changed and events."""

    def __init__(self, tree: Tree, watches: Watches[Any]) -> None:
        self._tree = tree
        self._watches = watches
        self._reads = {
            Op.EXISTS: self._exists,
            Op.GET_DATA: self._get_data,
            Op.GET_ACL: self._get_acl,
            Op.GET_CHILDREN: self._get_children,
            Op.GET_CHILDREN2: self._get_children2,
            Op.SYNC: self._sync,
            Op.ADD_WATCH: self._add_watch,
            Op.MULTI_READ: self._multi_read,
            Op.PING: self._ping,
        }
        self._writes = {
            Op.CREATE: self._create,
            Op.CREATE2: self._create2,
            Op.DELETE: self._delete,
            Op.SET_DATA: self._set_data,
            Op.SET_ACL: self._set_acl,
            Op.MULTI: self._multi,
        }
        self._parts = {
            Op.CREATE: self._create,
            Op.CREATE2: self._create2,
            Op.DELETE: self._delete,
            Op.SET_DATA: self._set_data,
            Op.CHECK: self._check,
        }

    def answer(self, op: int, body: bytes, asker: Asker) -> bytes:
        """The body of the answer. Raises Declined (nothing may be kept), Malformed."""
        reader = Reader(body)
        if op in self._reads:
            return self._reads[Op(op)](reader, asker)
        if op in self._writes:
            if self._tree.peek(SEAL) is not None and not (op == Op.DELETE and Reader(body).string() == SEAL):
                raise Declined(Code.NOT_READ_ONLY)
            self._tree.next_zxid()
            return self._writes[Op(op)](reader, asker)
        raise Declined(Code.UNIMPLEMENTED)

    # reads

    def _ping(self, reader: Reader, asker: Asker) -> bytes:
        return b""

    def _sync(self, reader: Reader, asker: Asker) -> bytes:
        return protocol.string(reader.string())

    def _exists(self, reader: Reader, asker: Asker) -> bytes:
        path, watch = reader.string(), reader.flag()
        if watch:
            self._watches.add(Kind.DATA, path, asker)
        return self._tree.find(path).stat()

    def _get_data(self, reader: Reader, asker: Asker) -> bytes:
        path, watch = reader.string(), reader.flag()
        node = self._readable(path, asker)
        if watch:
            self._watches.add(Kind.DATA, path, asker)
        return protocol.buffer(node.data) + node.stat()

    def _get_acl(self, reader: Reader, asker: Asker) -> bytes:
        node = self._tree.find(reader.string())
        rights.demand(node.acl, rights.READ | rights.ADMIN, asker.identities)
        return protocol.acl(node.acl) + node.stat()

    def _get_children(self, reader: Reader, asker: Asker) -> bytes:
        path, watch = reader.string(), reader.flag()
        node = self._readable(path, asker)
        if watch:
            self._watches.add(Kind.CHILD, path, asker)
        return protocol.strings(list(node.children or ()))

    def _get_children2(self, reader: Reader, asker: Asker) -> bytes:
        path, watch = reader.string(), reader.flag()
        node = self._readable(path, asker)
        if watch:
            self._watches.add(Kind.CHILD, path, asker)
        return protocol.strings(list(node.children or ())) + node.stat()

    def _add_watch(self, reader: Reader, asker: Asker) -> bytes:
        path, mode = reader.string(), reader.number()
        if mode not in _PERSISTENT_KINDS:
            raise Declined(Code.BAD_ARGUMENTS)
        self._watches.add(_PERSISTENT_KINDS[mode], path, asker)
        return protocol.number(0)

    def _multi_read(self, reader: Reader, asker: Asker) -> bytes:
        """Each read stands for itself: one that fails does not concern the others."""
        answers: list[bytes] = []
        while not reader.at_end():
            kind, done = reader.multi_header()
            if done:
                break
            if kind not in (Op.GET_DATA, Op.GET_CHILDREN):
                raise Declined(Code.UNIMPLEMENTED)
            try:
                answers.append(protocol.multi_header(kind) + self._reads[Op(kind)](reader, asker))
            except Declined as declined:
                answers.append(_failure(declined.code))
        return b"".join(answers) + _end_of_multi()

    def _readable(self, path: str, asker: Asker) -> Node:
        node = self._tree.find(path)
        rights.demand(node.acl, rights.READ, asker.identities)
        return node

    # writes

    def _create(self, reader: Reader, asker: Asker) -> bytes:
        return protocol.string(self._made(reader, asker)[0])

    def _create2(self, reader: Reader, asker: Asker) -> bytes:
        path, node = self._made(reader, asker)
        return protocol.string(path) + node.stat()

    def _made(self, reader: Reader, asker: Asker) -> tuple[str, Node]:
        path, data, grants, flags = reader.string(), reader.buffer(), reader.acl(), reader.number()
        if flags & ~(_EPHEMERAL | _SEQUENTIAL):
            raise Declined(Code.UNIMPLEMENTED)  # containers and keys with a time to live
        owner = asker.session_id if flags & _EPHEMERAL else 0
        sequential = bool(flags & _SEQUENTIAL)
        return self._tree.create(path, data, grants, asker.identities, owner=owner, sequential=sequential)

    def _delete(self, reader: Reader, asker: Asker) -> bytes:
        self._tree.delete(reader.string(), reader.number(), asker.identities)
        return b""

    def _set_data(self, reader: Reader, asker: Asker) -> bytes:
        path, data, version = reader.string(), reader.buffer(), reader.number()
        return self._tree.set_data(path, data, version, asker.identities).stat()

    def _set_acl(self, reader: Reader, asker: Asker) -> bytes:
        path, grants, version = reader.string(), reader.acl(), reader.number()
        return self._tree.set_acl(path, grants, version, asker.identities).stat()

    def _check(self, reader: Reader, asker: Asker) -> bytes:
        self._tree.check(reader.string(), reader.number(), asker.identities)
        return b""

    def _multi(self, reader: Reader, asker: Asker) -> bytes:
        """All or nothing; if nothing, the answer names the operation that failed and is no error by itself."""
        mark = self._tree.undo.mark()
        answers: list[bytes] = []
        failed: Code | None = None
        count = 0
        while not reader.at_end():
            kind, done = reader.multi_header()
            if done:
                break
            count += 1
            if kind not in self._parts:
                raise Declined(Code.UNIMPLEMENTED)
            try:
                answers.append(protocol.multi_header(kind) + self._parts[Op(kind)](reader, asker))
            except Declined as declined:
                failed = declined.code
                count += _skip(reader)
                break
        if failed is None:
            return b"".join(answers) + _end_of_multi()
        self._tree.take_back(mark)
        codes = [Code.OK] * len(answers) + [failed] + [Code.RUNTIME_INCONSISTENCY] * (count - len(answers) - 1)
        return b"".join(map(_failure, codes)) + _end_of_multi()


def _skip(reader: Reader) -> int:
    """Read past the operations after the one that failed; how many they are."""
    count = 0
    while not reader.at_end():
        kind, done = reader.multi_header()
        if done:
            break
        count += 1
        reader.string()
        match kind:
            case Op.CREATE | Op.CREATE2:
                reader.buffer(), reader.acl(), reader.number()
            case Op.SET_DATA:
                reader.buffer(), reader.number()
            case _:
                reader.number()
    return count


def _failure(code: Code) -> bytes:
    return protocol.multi_header(Op.ERROR, False, code) + protocol.number(code)


def _end_of_multi() -> bytes:
    return protocol.multi_header(-1, True, -1)
