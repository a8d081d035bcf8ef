"""What each node tells the others of its BMC, in the plugin's own subtree of the store: nodes/NODE.

The API's identity cannot read it (cluster/layout.py), and the password is sealed besides. A copy is kept in memory: a
node is fenced while the store may be silent.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pvc_core.contracts.plugin import PluginContext
from pvc_core.errors import NotFound, Permanent, PvcError, StoreUnavailable

FOLDER = "nodes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One node's BMC. `password` is sealed; `uuid` is what the BMC calls itself where that is not the machine's own."""

    node: str
    address: str
    port: int
    user: str
    password: str
    cipher_suites: tuple[int, ...]
    power_on: bool
    uuid: str = ""

    @property
    def where(self) -> str:
        return self.address if self.port == 623 else f"{self.address} port {self.port}"


class Notes:
    """All nodes' notes. Errors as in the store."""

    def __init__(self, context: PluginContext) -> None:
        self._context, self._state = context, context.state
        self._lock = threading.Lock()
        self._known: dict[str, Note] = {}
        self._stale = True
        self._watched = False

    def publish(self, note: Note | None, password: str) -> str:
        """Of this node; None takes it back. What is there and means the same stays as it is."""
        node = self._context.node.name
        kept = self._read(node)
        if note is None:
            if kept is not None:
                self.forget(node)
            return f"node {node} has no BMC that PVC knows of"
        if kept is None or not self._same(kept, note, password):
            sealed = Note(**{**asdict(note), "password": self._context.seal(_label(node), password)})
            self._state.put(f"{FOLDER}/{node}", json.dumps(asdict(sealed)).encode(), if_version=None)
            self._stale = True
        return f"the BMC of node {node} is on record: {note.where}, user {note.user}"

    def forget(self, node: str) -> None:
        self._stale = True
        try:
            self._state.delete(f"{FOLDER}/{node}", if_version=None)
        except NotFound:
            return

    def all(self) -> Mapping[str, Note]:
        """As last read. The store is asked only when something changed since; where it is silent, the copy is good."""
        self._watch()
        with self._lock:
            if self._stale:
                self._stale = False  # before reading: a change meanwhile makes it so again
                try:
                    self._known = self._read_all()
                except StoreUnavailable:
                    self._stale = True
            return self._known

    def password(self, note: Note) -> str:
        """Raises Permanent."""
        return self._context.unseal(_label(note.node), note.password)

    def _watch(self) -> None:
        if not self._watched:
            self._watched = True
            self._state.wake(self._changed)

    def _changed(self) -> None:
        self._stale = True

    def _same(self, kept: Note, note: Note, password: str) -> bool:
        if {**asdict(kept), "password": ""} != {**asdict(note), "password": ""}:
            return False
        try:
            return self.password(kept) == password
        except PvcError:
            return False

    def _read(self, node: str) -> Note | None:
        try:
            return _decoded(self._state.get(f"{FOLDER}/{node}")[0])
        except (NotFound, Permanent):
            return None

    def _read_all(self) -> dict[str, Note]:
        found = {node: self._read(node) for node in self._state.children(FOLDER)}
        return {node: note for node, note in found.items() if note is not None}


def _decoded(data: bytes) -> Note:
    """Raises Permanent; a newer version's further fields are passed over."""
    try:
        plain: dict[str, Any] = json.loads(data)
        known = {name: plain[name] for name in Note.__dataclass_fields__ if name in plain}
        return Note(**{**known, "cipher_suites": tuple(known["cipher_suites"])})
    except (ValueError, KeyError, TypeError) as error:
        raise Permanent(f"the note of a BMC in the store cannot be read: {error}") from None


def _label(node: str) -> str:
    return f"the BMC's password of node {node}"
