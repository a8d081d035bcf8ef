"""The ten primitives every store offers, and nothing of what is kept in it.

get, children, create, put, delete, commit (with check), ephemeral create, watch, session, close. Three stores keep this
contract: zookeeper.py (kazoo; the only one in production, against ZooKeeper or pvcstored) and
pvc_core.testing.store.FakeStore (the simulator). One suite asks all of them the same questions:
pvc_core/testing/contract_store.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

VALUE_MAX_BYTES = 1_000_000
"""Largest value; ZooKeeper's own limit for a whole packet is 1 MiB (jute.maxbuffer)."""

Wake = Callable[[str | None], None]
"""Called with the key that changed, or None when anything below the prefix may have changed (re-read all of it).

Called from a thread of the store's own; it must return at once and must not call the store.
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key as it was at one moment. `version` starts at 0 and grows by one with each put.

    `stamp` orders changes over the whole store (ZooKeeper's mzxid): of two entries of one key the one with the greater
    stamp is the newer, also when the key was deleted and created again in between.
    """

    key: str
    value: bytes
    version: int
    stamp: int
    ephemeral: bool = False


@dataclass(frozen=True, slots=True)
class Create:
    key: str
    value: bytes
    ephemeral: bool = False


@dataclass(frozen=True, slots=True)
class Put:
    """`if_version=None` overwrites whatever version is there (but the key must exist); 0 is a version."""

    key: str
    value: bytes
    if_version: int | None


@dataclass(frozen=True, slots=True)
class Delete:
    key: str
    if_version: int | None


@dataclass(frozen=True, slots=True)
class Check:
    """The commit happens only if `key` exists with this very version."""

    key: str
    version: int


Op = Create | Put | Delete | Check


class SessionState(Enum):
    CONNECTED = "connected"
    """The last call was answered in time."""
    SUSPENDED = "suspended"
    """No answer for now; calls fail at once with StoreUnavailable. The session, and its ephemerals, may still live."""
    LOST = "lost"
    """The session is over; its ephemeral keys are gone or going. A new one is opened by itself (see Session.id)."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Session:
    """`id` changes when a session was lost and a new one opened."""

    id: int
    state: SessionState


class Watch(ABC):
    """A standing order for one prefix. Survives reconnects and lost sessions."""

    @abstractmethod
    def stop(self) -> None:
        """No wake begins after this has returned."""


class Store(ABC):
    """Keys are absolute slash-separated paths ("/pvc/vms/..."); no trailing slash, no empty, "." or ".." segment.

    Every call takes at most `deadline_s` seconds (the store's own default if None), is safe from any thread, and raises
    StoreUnavailable when there was no answer; after a write `maybe_written` tells whether it may have happened.
    """

    @abstractmethod
    def get(self, key: str, *, deadline_s: float | None = None) -> Entry:
        """The entry. Raises NotFound (really absent), StoreUnavailable, Invalid (hostile key)."""

    @abstractmethod
    def children(self, key: str, *, deadline_s: float | None = None) -> list[str]:
        """Names (not keys) directly below `key`, sorted. Raises NotFound, StoreUnavailable, Invalid."""

    @abstractmethod
    def create(self, key: str, value: bytes, *, ephemeral: bool = False, deadline_s: float | None = None) -> Entry:
        """Make a new key with version 0; missing parents are made with an empty value.

        An ephemeral key goes with the session that made it and can have no children.
        Raises Exists, StoreUnavailable, Invalid (hostile key, value above VALUE_MAX_BYTES).
        """

    @abstractmethod
    def put(self, key: str, value: bytes, *, if_version: int | None, deadline_s: float | None = None) -> Entry:
        """Replace the value if the key still has `if_version` (None: whatever it has).

        Raises Conflict (other version), NotFound, StoreUnavailable, Invalid.
        """

    @abstractmethod
    def delete(self, key: str, *, if_version: int | None, deadline_s: float | None = None) -> None:
        """Remove a key without children.

        Raises Conflict, NotFound, Refused (has children), StoreUnavailable, Invalid.
        """

    @abstractmethod
    def commit(self, ops: Sequence[Op], *, deadline_s: float | None = None) -> list[Entry | None]:
        """All of it or nothing, at one point in time. Parents of created keys are made beforehand if missing.

        Returns for each op the new entry (None for Delete and Check). Raises Conflict (a version differs, a key to put,
        delete or check is absent, or a key to create exists; the message names the key), StoreUnavailable, Invalid.
        """

    @abstractmethod
    def tree(self, prefix: str, *, deadline_s: float | None = None) -> dict[str, Entry]:
        """Every key at and below `prefix` (which need not exist), read with as few round trips as the store can.

        Made of get and children, so not one point in time; a key that changes meanwhile wakes the watch.
        """

    @abstractmethod
    def watch(self, prefix: str, wake: Wake) -> Watch:
        """From now on call `wake` after every change at or below `prefix`; carries no payload.

        Keys may be reported twice or together; none is missed: after a reconnect `wake(None)` says that anything may
        have changed. `wake(None)` is also called once when the watch first stands. `prefix` need not exist yet.
        """

    @abstractmethod
    def session(self) -> Session:
        """Never blocks."""

    @abstractmethod
    def on_session(self, wake: Callable[[Session], None]) -> None:
        """Call `wake` on every change of state; same duties as a watch's wake."""

    @abstractmethod
    def close(self) -> None:
        """End the session (ephemerals go at once) and free threads and sockets. Idempotent."""
